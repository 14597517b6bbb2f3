package PagiBridge::File;

use strict;
use warnings;

use Fcntl ();
use FileHandle ();
use IO::Handle ();
use Scalar::Util qw(blessed openhandle);
use Time::HiRes  ();

=head1 NAME

PagiBridge::File - finds the file behind a body, for the gateway to send

=head1 SYNOPSIS

    my $payload = PagiBridge::File::payload($body, $began);

=head1 DESCRIPTION

The gateway opens the file by its path, some time after the worker has dropped its handle. So
the file must still exist, and its bytes must be those that reading the body would have given.
Bodies of classes with their own way to read, close or end are not sent by name: L<File::Temp>,
for example, removes its file. Neither are

=over

=item *

a file of F</proc> or F</sys>, which has another size than C<stat> says;

=item *

a handle that was read from, because only perl knows its position;

=item *

a file that was changed since the request began: the next request may write the same one,
and what it writes would reach this request's client.

=back

=head1 FUNCTIONS

=head2 payload($body, $began)

Returns the payload of a FILE frame for a plain file: one whose object has a C<path>
method, or a handle of no special class, which is looked up by its descriptor. Returns
undef for any other body. The request began at the time C<$began>.

=head2 payload($body, $began, 1)

The same, but only for an object with a C<path> method. It is for a time at which variables of
the application that may own the file are still alive.

=cut

# The noted time of a change may be this much earlier than the change itself, because the
# kernel's clock for it ticks at 100 Hz or more.
use constant TICK => 0.02;

my %plain = map { $_ => 1 } qw(GLOB IO::File IO::Handle FileHandle);

sub payload {
    my ($body, $began, $named) = @_;
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
    my @stat = Time::HiRes::stat($handle);
    return if !@stat || !Fcntl::S_ISREG($stat[2]) || $stat[10] > $began - TICK;
    return if !$stat[12];    # no blocks: made up by the kernel, as in /proc, or small, or sparse; only reading it tells
    $path = readlink "/proc/self/fd/$fd" if !defined $path;
    return if !defined $path || $path !~ m{\A/};
    my @there = stat $path;    # none, or another file, when it has been removed
    return if !@there || $there[0] != $stat[0] || $there[1] != $stat[1];
    # Perl has read more than the application, or sysread has: only reading it tells.
    my $offset = tell $handle;
    return if $offset < 0 || $offset != sysseek $handle, 0, Fcntl::SEEK_CUR;
    my $length = $stat[7] > $offset ? $stat[7] - $offset : 0;
    utf8::encode($path) if utf8::is_utf8($path);
    return pack 'Q> Q> Q> Q> a*', $offset, $length, @stat[0, 1], $path;
}

=head2 is_stream($body)

Reports whether a body is a handle of a pipe, a socket or a device, without a layer and without
its own methods for reading.

=cut

sub is_stream {
    my ($body) = @_;
    my $handle = openhandle($body) or return 0;
    return 0 if tied *$handle || blessed $body && is_special($body, 'getline');
    return 0 if !(-p $handle || -S _ || -c _);
    return !grep { $_ ne 'unix' && $_ ne 'perlio' } PerlIO::get_layers($handle);
}

=head2 has_failed($body)

Reports whether perl has noted an error of a plain handle. Errors behind a tie or a method of
the class are not known to perl.

=cut

sub has_failed {
    my ($body) = @_;
    my $handle = openhandle($body) or return 0;
    return 0 if tied *$handle || blessed $body && is_special($body, 'getline');
    return IO::Handle::error($handle);
}

# is_special reports whether the class of an object overrides a method of IO::Handle.
sub is_special {
    my ($object, $method) = @_;
    my $own = $object->can($method);
    return $own && $own != IO::Handle->can($method);
}

1;
