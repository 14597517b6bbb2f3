use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";

use Deaf;
use Gateway;
use PagiBridge::Wire qw(:frames frame);

sub streams { return map { unpack 'x4 N', $_ } @_ }

sub read_streams {
    my ($n) = @_;
    my @got;
    push @got, streams(next_frames()) while @got < $n;
    return @got;
}

{
    my $pid = start(sub { [200, ['X-Path' => $_[0]{PATH_INFO}], ['body']] });
    to_worker request(1, '/a');
    my ($answer) = next_frames();
    my ($length, $stream, $type, $flags) = unpack 'N N C C', $answer;
    is_deeply [$stream, $type, $flags], [1, RESPONSE, FIN], 'one frame, complete';
    is_deeply [unpack 'x10 n N/(N/a*N/a*) a*', $answer], [200, 'X-Path' => '/a', 'body'], 'with everything';

    to_worker join '', map { request($_, '/quick') } 2 .. 9;
    is_deeply [read_streams(8)], [2 .. 9], 'a batch is answered in order';

    # Other names in the place of those that requests still wait with.
    to_worker join '', request(20, '/first'), names(qw(PATH_INFO REQUEST_METHOD)), values_of(21, '/second', 'GET', '');
    my @paths;
    push @paths, map { (unpack 'x10 n N/(N/a*N/a*) a*', $_)[2] } next_frames() while @paths < 2;
    is_deeply \@paths, ['/first', '/second'], 'each request has the names that stood there before it';

    to_worker names(qw(REQUEST_METHOD PATH_INFO)), map { values_of($_, 'GET', '/more', '') } 31 .. 60;
    is_deeply [read_streams(30)], [31 .. 60], 'a large batch is answered in order';

    # A request cut into single bytes.
    to_worker $_ for split //, request(10, '/b');
    is_deeply [read_streams(1)], [10], 'a request in single bytes';

    to_worker frame(DRAIN, 0, 0, '');
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
    to_worker join '', request(1, '/quick'), request(2, '/slow'), request(3, '/note'), request(4, '/note'), request(5, '/note');
    is_deeply [read_streams(1)], [1], 'the quick one arrives while the slow one runs';
    to_worker frame(CANCEL, 0, $_, '') for 3, 5;
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
    # A request that was given behind a slow one, and was taken back before the worker read it.
    pipe my $read, my $write or die "pipe: $!";
    pipe my $begun, my $begin or die "pipe: $!";
    my $pid = start(sub {
        if ($_[0]{PATH_INFO} eq '/slow') { syswrite $begin, 'x'; select undef, undef, undef, 0.01; sysread $read, my $byte, 1 }
        [200, [], [$_[0]{PATH_INFO}]];
    });
    close $read;
    to_worker request(1, '/slow');
    sysread $begun, my $byte, 1;    # the others are not read together with it
    to_worker request(2, '/note') . request(3, '/note');
    to_worker frame(CANCEL, 0, 2, '');
    syswrite $write, 'x';
    my %type;
    while (keys %type < 3) { $type{ unpack 'x4 N', $_ } = unpack 'x8 C', $_ for next_frames() }
    is_deeply \%type, { 1 => RESPONSE, 2 => BODY, 3 => RESPONSE }, 'what was taken back before it was read is not begun';
    is stop($pid), 0;
}

{
    # The client of a stream goes away.
    my $pid = start(sub { sub { my $w = $_[0]->([200, []]); $w->write('x') while 1 } });
    to_worker request(1, '/endless');
    next_frames();
    to_worker frame(CANCEL, 0, 1, '');
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
    to_worker frame(0x55, 0, 0, '');
    waitpid $pid, 0;
    isnt $?, 0, 'an unknown frame';
    $pid = start(sub { }, 1);
    to_worker pack 'N N C C', MAX_PAYLOAD + 1, 1, REQUEST, 0;
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
    to_worker request(1, '/');
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

{
    # However the gateway's bytes are cut, the same requests are found.
    my $stream = request(1, '/a') . frame(CANCEL, 0, 9, '') . request(2, '/b', 'body');
    my @same = grep {
        my $worker = Deaf->fed(substr($stream, 0, $_), substr($stream, $_));
        $worker->run($worker);
        join('|', @{ $worker->{served} }) eq "1:GET\0/a\0|2:GET\0/b\0body" && ${ $worker->{in} } eq '';
    } 0 .. length $stream;
    is scalar @same, length($stream) + 1, 'requests cut at every byte';
}

for my $case (
    [values_of(1, 'GET', '/', ''),               qr/names are not known/, 'a request before any names'],
    [frame(REQUEST, 0, 1, ''),                   qr/a request of 0 bytes/, 'an empty request'],
    [request(1, '/') . frame(0x77, 0, 0, 'x'),   qr/unknown frame type 0x77/, 'a frame of no type'],
) {
    my ($bytes, $message, $name) = @$case;
    my $worker = Deaf->fed($bytes);
    ok !eval { $worker->run($worker); 1 }, $name;
    like $@, qr/\Awire: .*$message/, 'says so';
}

done_testing;
