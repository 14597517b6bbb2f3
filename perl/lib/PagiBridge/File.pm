package PagiBridge::File;

use strict;
use warnings;

use Fcntl ();
use FileHandle ();
use IO::Handle ();
use Scalar::Util qw(blessed openhandle);

=head1 NAME

PagiBridge::File - finds the file behind a body, for the gateway to send

=head1 SYNOPSIS

    my $payload = PagiBridge::File::payload($body);

=head1 DESCRIPTION

The gateway opens the file by its path, some time after the worker has dropped its
handle. So the file must be there still, and its bytes must be what reading the body
would have given: classes that read, close or end in a way of their own are left
alone, such as L<File::Temp>, which removes its file.

=head1 FUNCTIONS

=head2 payload($body)

Returns the payload of a FILE frame for a plain file: one whose object has a C<path>
method, or a handle of no special class, which is looked up by its descriptor. Returns
undef for any other body.

=head2 payload($body, 1)

The same, but only by a C<path> method: for a moment at which variables of the
application that may own the file are still alive.

=cut

my %plain = map { $_ => 1 } qw(GLOB IO::File IO::Handle FileHandle);

sub payload {
    my ($body, $named) = @_;
    my $handle = openhandle($body) or return;
    my $path;
    if (blessed $body && $body->can('path')) {
        return if grep { is_special($body, $_) } qw(getline close DESTROY);
        $path = $body->path;
    }
    elsif ($named || !$plain{ ref $body || ref \$body }) {
        return;
    }
    return if tied *$handle;
    my $fd = fileno $handle;
    return if !defined $fd || $fd < 0;
    return if grep { $_ ne 'unix' && $_ ne 'perlio' } PerlIO::get_layers($handle);
    my @stat = stat $handle;
    return if !@stat || !Fcntl::S_ISREG($stat[2]);
    $path = readlink "/proc/self/fd/$fd" if !defined $path;
    return if !defined $path || $path !~ m{\A/};
    my @there = stat $path;    # none, or another file, when it has been removed
    return if !@there || $there[0] != $stat[0] || $there[1] != $stat[1];
    my $offset = tell $handle;
    return if $offset < 0;
    my $length = $stat[7] > $offset ? $stat[7] - $offset : 0;
    utf8::encode($path) if utf8::is_utf8($path);
    return pack 'Q> Q> Q> Q> a*', $offset, $length, @stat[0, 1], $path;
}

# is_special reports whether an object's class has a method of its own that
# IO::Handle has otherwise.
sub is_special {
    my ($object, $method) = @_;
    my $own = $object->can($method);
    return $own && $own != IO::Handle->can($method);
}

1;
