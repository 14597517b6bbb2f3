use strict;
use warnings;

use IO::Handle;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::PSGI;
use PagiBridge::Wire qw(:frames frame parse_frames pack_pairs unpack_pairs);
use PagiBridge::Worker;

# The worker runs in a child; this process plays the gateway.
my ($gateway, $buffer);

sub start {
    my ($app, $quiet) = @_;
    socketpair $gateway, my $socket, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    $buffer = '';
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        open STDERR, ">", "/dev/null" if $quiet;
        close $gateway;
        my $worker = PagiBridge::Worker->new($socket);
        $worker->run(PagiBridge::PSGI->new(app => $app, worker => $worker));
        exit 0;
    }
    close $socket;
    return $pid;
}

sub request {
    my ($stream, $path, $body) = @_;
    return frame(REQUEST, 0, $stream, pack_pairs(REQUEST_METHOD => 'GET', PATH_INFO => $path) . (defined $body ? $body : ''));
}

sub stop {
    my ($pid) = @_;
    close $gateway;
    waitpid $pid, 0;
    return $?;
}

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

sub streams { return map { unpack 'x4 N', $_ } @_ }

sub read_streams {
    my ($n) = @_;
    my @got;
    push @got, streams(next_frames()) while @got < $n;
    return @got;
}

{
    my $pid = start(sub { [200, ['X-Path' => $_[0]{PATH_INFO}], ['body']] });
    syswrite $gateway, request(1, '/a');
    my ($answer) = next_frames();
    my ($length, $stream, $type, $flags) = unpack 'N N C C', $answer;
    is_deeply [$stream, $type, $flags], [1, RESPONSE, FIN], 'one frame, complete';
    is_deeply [unpack 'x10 n N/(N/a*N/a*) a*', $answer], [200, 'X-Path' => '/a', 'body'], 'with everything';

    syswrite $gateway, join '', map { request($_, '/quick') } 2 .. 9;
    is_deeply [read_streams(8)], [2 .. 9], 'a batch is answered in order';

    # A request cut into single bytes.
    syswrite $gateway, $_ for split //, request(10, '/b');
    is_deeply [read_streams(1)], [10], 'a request in single bytes';

    syswrite $gateway, frame(DRAIN, 0, 0, '');
    waitpid $pid, 0;
    is $?, 0, 'drained';
}

{
    # A slow one among them: what was answered before does not wait for it, and what
    # was taken away behind it is not begun.
    pipe my $read, my $write or die "pipe: $!";
    my $pid = start(sub {
        if ($_[0]{PATH_INFO} eq '/slow') { select undef, undef, undef, 0.01; sysread $read, my $byte, 1 }
        [200, [], [$_[0]{PATH_INFO}]];
    });
    close $read;
    syswrite $gateway, join '', request(1, '/quick'), request(2, '/slow'), request(3, '/note'), request(4, '/note'), request(5, '/note');
    is_deeply [read_streams(1)], [1], 'the quick one arrives while the slow one runs';
    syswrite $gateway, frame(CANCEL, 0, $_, '') for 3, 5;
    syswrite $write, 'x';
    my %type;
    while (keys %type < 4) {
        for (next_frames()) {
            my ($stream, $type, $flags) = unpack 'x4 N C C', $_;
            $type{$stream} = $type;
            is $flags, FIN, "stream $stream is complete";
        }
    }
    is_deeply \%type, { 2 => RESPONSE, 3 => BODY, 4 => RESPONSE, 5 => BODY }, 'the cancelled ones were not begun, but answered';
    is stop($pid), 0, 'ends when the gateway goes';
}

{
    # The client of a stream goes away.
    my $pid = start(sub { sub { my $w = $_[0]->([200, []]); $w->write('x') while 1 } });
    syswrite $gateway, request(1, '/endless');
    next_frames();
    syswrite $gateway, frame(CANCEL, 0, 1, '');
    my $ended;
    while (!$ended) {
        for (next_frames()) { $ended = 1 if unpack('x9 C', $_) & FIN }
    }
    pass 'an endless stream ends';
    is stop($pid), 0, 'and the worker with it';
}

{
    # A frame that is none ends the worker with a message.
    my $pid = start(sub { }, 1);
    syswrite $gateway, frame(0x55, 0, 0, '');
    waitpid $pid, 0;
    isnt $?, 0, 'an unknown frame';
    $pid = start(sub { }, 1);
    syswrite $gateway, pack 'N N C C', MAX_PAYLOAD + 1, 1, REQUEST, 0;
    waitpid $pid, 0;
    isnt $?, 0, 'a frame over the limit';
}

{
    # An exception thrown out of a write by a signal handler leaves the stream of
    # frames whole.
    my $pid = start(sub {
        sub {
            my $writer = $_[0]->([200, []]);
            eval {
                local $SIG{ALRM} = sub { die "alarm\n" };
                alarm 1;
                $writer->write('x' x 4_000_000);    # more than the socket takes
            };
            $writer->write('after');
            $writer->close;
        }
    });
    syswrite $gateway, request(1, '/');
    select undef, undef, undef, 1.2;
    my ($body, $ended) = ('');
    while (!$ended) {
        for (next_frames()) {
            my ($length, undef, $type, $flags) = unpack 'N N C C', $_;
            $body .= substr $_, HEADER_SIZE if $type == BODY;
            $ended = 1 if $flags & FIN;
        }
    }
    like $body, qr/\Ax+after\z/, 'an exception out of a write';
    is stop($pid), 0;
}

done_testing;
