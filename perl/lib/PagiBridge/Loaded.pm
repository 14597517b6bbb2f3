package PagiBridge::Loaded;

use strict;
use warnings;

use Cwd ();
use File::Spec ();

use PagiBridge::Wire qw(LOADED frame);

=head1 NAME

PagiBridge::Loaded - tells the gateway which files an application has loaded

=head1 SYNOPSIS

    my $handler = PagiBridge::Loaded->new(PagiBridge::PSGI->new(...));
    $worker->ready;
    $handler->report($worker);
    $worker->run($handler);

=head1 DESCRIPTION

Wraps another handler and looks at C<%INC> after each request. It is for development only,
where the gateway loads an application anew when one of its files has changed.

=head1 METHODS

=head2 new($handler)

Relative names in C<%INC> are relative to the directory that is current at this call.

=cut

sub new {
    my ($class, $handler) = @_;
    return bless { handler => $handler, dir => Cwd::getcwd(), count => 0, told => {} }, $class;
}

=head2 handle($worker, @request)

Makes the other handler serve one request, and then reports the files that the request has
loaded.

=cut

sub handle {
    my ($self, $worker, @request) = @_;
    $self->{handler}->handle($worker, @request);
    $self->report($worker) if keys %INC != $self->{count};
    return;
}

=head2 report($worker)

Sends the names of files that were not reported before. It leaves out entries that are not
files, such as modules that a hook in C<@INC> has generated.

=cut

sub report {
    my ($self, $worker) = @_;
    $self->{count} = keys %INC;
    my @files;
    for my $name (sort keys %INC) {
        my $path = $INC{$name};
        next if !defined $path || ref $path || $self->{told}{$path}++;
        my $file = File::Spec->rel2abs($path, $self->{dir});
        next if $file =~ m{/PagiBridge/(?:\w+/)?\w+\.pm\z} || !-f $file;
        utf8::encode($file) if utf8::is_utf8($file);
        push @files, $file;
    }
    $worker->tell(frame(LOADED, 0, 0, pack '(N/a*)*', @files)) if @files;
    return;
}

1;
