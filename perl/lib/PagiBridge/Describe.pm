package PagiBridge::Describe;

use strict;
use warnings;

use Exporter 'import';
use Scalar::Util qw(blessed);
use overload ();

our @EXPORT_OK = qw(describe message);

=head1 NAME

PagiBridge::Describe - says in words what an application returned or threw

=head1 SYNOPSIS

    use PagiBridge::Describe qw(describe message);

    eval { $app->($env) } or print message($@);
    print 'it returned ', describe($value);

=head1 FUNCTIONS

Neither function dies, whatever the class of the value does.

=head2 message($error)

Renders an exception: text as it is, an object by its string, its message or its content.

=cut

sub message {
    my ($error) = @_;
    return 'unknown error' if !defined $error || !ref $error && $error eq '';
    my $text = $error;
    if (ref $error) {
        local $@;
        $text = eval {
            blessed $error && overload::Method($error, '""') ? "$error"
                : blessed $error && $error->can('message')  ? $error->message
                :                                             undef;
        };
        $text = eval { dump_value($error) } if !defined $text;
        $text = defined $text ? 'died with ' . describe($error) . ": $text" : 'died with ' . describe($error);
    }
    $text =~ s/\s+\z//;
    return $text;
}

sub dump_value {
    my ($value) = @_;
    require Data::Dumper;
    return Data::Dumper->new([$value])->Indent(0)->Terse(1)->Maxdepth(3)->Sortkeys(1)->Dump;
}

=head2 describe($value)

Names a value by its kind.

=cut

sub describe {
    my ($value) = @_;
    return 'nothing (undef)' if !defined $value;
    return 'an object of class ' . ref $value if blessed $value;
    return 'a reference to ' . ref $value     if ref $value;
    return 'the string \'' . (length $value > 60 ? substr($value, 0, 60) . '...' : $value) . '\'';
}

1;
