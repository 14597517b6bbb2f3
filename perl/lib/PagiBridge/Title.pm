package PagiBridge::Title;

use strict;
use warnings;

=head1 NAME

PagiBridge::Title - a name for ps that is not the application's $0

=head1 SYNOPSIS

    PagiBridge::Title::set('pagi-worker /', '/srv/site/app.psgi');
    # ps shows the first, $0 is the second

=head1 DESCRIPTION

C<FindBin> and others look into C<$0> when they are loaded, which may be in a request. So C<$0>
stays as it was while the application was loaded, and the process gets its name independently
of C<$0>. An application that assigns to C<$0> still changes both.

=cut

my $shown = \$0;    # perl's own variable, which changes the name of the process

=head1 FUNCTIONS

=head2 set($title, $file)

=cut

sub set {
    my ($title, $file) = @_;
    $$shown = $title;
    tie my $zero, __PACKAGE__, $title, $file;
    *0 = \$zero;
    return;
}

sub TIESCALAR {
    my ($class, $title, $file) = @_;
    return bless { title => $title, file => $file, value => $file }, $class;
}

sub FETCH { return $_[0]{value} }

# Perl also calls STORE at the end of a local. The title then comes back as well.
sub STORE {
    my ($self, $value) = @_;
    $self->{value} = $value;
    $$shown = defined $value && $value eq $self->{file} ? $self->{title} : $value;
    return;
}

1;
