package Gateway;

use strict;
use warnings;

use Exporter 'import';
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

use PagiBridge::PSGI;
use PagiBridge::Wire qw(:frames frame parse_frames);
use PagiBridge::Worker;

our @EXPORT = qw(start stop request names values_of to_worker next_frames answer);

# The worker runs in a child; this process plays the gateway.
my ($gateway, $buffer);

sub start {
    my ($app, $quiet, $around, @features) = @_;
    socketpair $gateway, my $socket, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    $buffer = '';
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        open STDERR, '>', '/dev/null' if $quiet;
        close $gateway;
        my $worker = PagiBridge::Worker->new($socket);
        $worker->agree({ paths => 1, @features }) if @features;
        my $handler = PagiBridge::PSGI->new(app => $app, worker => $worker);
        $worker->run($around ? $around->($handler) : $handler);
        exit 0;
    }
    close $socket;
    return $pid;
}

sub stop {
    my ($pid) = @_;
    close $gateway;
    waitpid $pid, 0;
    return $?;
}

sub request {
    my ($stream, $path, $body) = @_;
    return names(qw(REQUEST_METHOD PATH_INFO)) . values_of($stream, 'GET', $path, defined $body ? $body : '');
}

# names tells the worker the names of the values in the requests that follow.
sub names { return frame(NAMES, 0, 0, pack 'n (N/a*)*', 0, @_) }

# values_of is a request without its names; the last value is its body.
sub values_of {
    my ($stream, @values) = @_;
    return frame(REQUEST, 0, $stream, pack('n', 0) . join "\0", @values);
}

sub to_worker { syswrite $gateway, join '', @_ }

# next_frames returns at least one frame, and all that came in the same read.
sub next_frames {
    my @frames;
    while (!@frames) {
        my $n = sysread $gateway, $buffer, 1 << 20, length $buffer;
        die 'the worker has gone' if !$n;
        @frames = parse_frames(\$buffer);
    }
    return @frames;
}

# answer reads until the worker is free again, or only to the end of the answer, and
# returns type, flags and payload of each frame.
sub answer {
    my ($end_only) = @_;
    my (@list, $done);
    while (!$done) {
        for (next_frames()) {
            my ($type, $flags) = unpack 'x8 C C', $_;
            push @list, [$type, $flags, substr $_, HEADER_SIZE];
            next if $type == LOG || $type == LOADED;
            $done = $type == IDLE || $flags & FIN && ($end_only || !($flags & BUSY));
        }
    }
    return @list;
}

1;
