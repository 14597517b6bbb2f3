use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::PSGI::Upgrade ();

# The translation between the bytes of psgix.io and events.

my $accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nX-A: b\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

# frame is one of the application: not masked, unless a mask is given.
sub frame {
    my ($first, $payload, $mask) = @_;
    my $n    = length $payload;
    my $size = $n < 126 ? pack 'C', $n : $n < 65536 ? pack 'C n', 126, $n : pack 'C N N', 127, 0, $n;
    if (defined $mask) {
        substr $size, 0, 1, chr(0x80 | ord $size);
        $size .= $mask;
        $payload ^= substr $mask x (1 + $n / 4), 0, $n;
    }
    return chr($first) . $size . $payload;
}

# parsed returns the events of bytes that come in pieces of a size.
sub parsed {
    my ($bytes, $size) = @_;
    my $upgrade = PagiBridge::PSGI::Upgrade->new;
    my @events;
    while (length $bytes) { push @events, $upgrade->from_app(substr $bytes, 0, $size, '') }
    return ($upgrade, @events);
}

my $long = 'l' x 70_000;
my $all  = $accept . frame(0x81, "h\xc3\xa9") . frame(0x82, "\x00\xff") . frame(0x01, 'one ') . frame(0x89, 'ping') . frame(0x8a, 'pong')
    . frame(0x00, 'two ') . frame(0x80, 'three') . frame(0x81, 'masked', 'abcd') . frame(0x82, 'm' x 1000) . frame(0x82, $long) . frame(0x88, pack('n', 4001) . 'bye') . 'behind';
my @want = (
    { type => 'websocket.accept', headers => [['x-a', 'b']], subprotocol => 'chat' },
    { type => 'websocket.send', text => "h\x{e9}" },
    { type => 'websocket.send', bytes => "\x00\xff" },
    { reply => "\x8a\x84\0\0\0\0ping" },
    { type => 'websocket.send', text => 'one two three' },
    { type => 'websocket.send', text => 'masked' },
    { type => 'websocket.send', bytes => 'm' x 1000 },
    { type => 'websocket.send', bytes => $long },
    { type => 'websocket.close', code => 4001, reason => 'bye' },
);
for my $size (1, 7, 1 << 20) {
    my ($upgrade, @events) = parsed($all, $size);
    is_deeply \@events, \@want, "in pieces of $size bytes";
    ok $upgrade->is_over, 'over';
    is_deeply [$upgrade->end_of_app], [], 'the end says nothing more';
}

is_deeply [(parsed($accept . frame(0x88, ''), 9))[-1]], [{ type => 'websocket.close', code => 1000, reason => '' }], 'a close frame without a code';
my ($upgrade) = parsed($accept, 5);
is_deeply [$upgrade->end_of_app], [{ type => 'websocket.close', code => 1000 }], 'an end without a close frame';
ok !(parsed('', 1))[0]->is_begun, 'nothing was said';

my $declined = "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nConnection: close\r\nX-A: b\r\n\r\nno w";
is_deeply [(parsed("${declined}ay", 1000))[1, 2]], [
    { type => 'websocket.http.response.start', status => 403, headers => [['content-length', 4], ['x-a', 'b']] },
    { type => 'websocket.http.response.body', body => 'no w', more => 0 },
], 'a response that declines';
my (undef, @pieces) = parsed($declined, 1);
is join('', map { defined $_->{body} ? $_->{body} : '' } @pieces), 'no w', 'in single bytes';
is $pieces[-1]{more}, 0, 'the last one';
($upgrade, @pieces) = parsed("HTTP/1.0 500 Oops\n\nto the end", 1000);
is_deeply [$pieces[1], $upgrade->end_of_app], [
    { type => 'websocket.http.response.body', body => 'to the end', more => 1 },
    { type => 'websocket.http.response.body', body => '', more => 0 },
], 'a body without a length';

for (
    ["SSH-2.0-x\r\n\r\n", qr/something else than a response of HTTP.1\.1: SSH-2\.0-x/],
    ["HTTP/1.1 100 Continue\r\n\r\n", qr/answered with status 100/],
    ["HTTP/1.1 200 OK\r\nbroken\r\n\r\n", qr/no header: broken/],
    ["HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n", qr/must not be chunked/],
    ["HTTP/1.1 101 Yes\r\nSec-WebSocket-Extensions: x\r\n\r\n", qr/extension that was not offered: x/],
    ['x' x 70_000, qr/head of more than 65536 bytes/],
    [$accept . frame(0xc1, 'x'), qr/reserved bit/],
    [$accept . frame(0x83, 'x'), qr/unknown opcode 3/],
    [$accept . frame(0x80, 'x'), qr/continuation of no message/],
    [$accept . frame(0x01, 'x') . frame(0x81, 'y'), qr/message within another one/],
    [$accept . frame(0x81, "\xe9"), qr/not UTF-8/],
    [$accept . pack('C C N N', 0x82, 127, 0, 1 << 25), qr/frame of more than/],
    [$accept . pack('C C N N', 0x82, 127, 1, 0), qr/frame of more than/],
) {
    my ($bytes, $like) = @$_;
    eval { parsed($bytes, 1 << 20) };
    like $@, $like, "dies: $like";
}

$upgrade = PagiBridge::PSGI::Upgrade->accepted;
is $upgrade->to_app({ type => 'websocket.receive', text => "\x{263a}" }), "\x81\x83\0\0\0\0\xe2\x98\xba", 'a text';
is $upgrade->to_app({ type => 'websocket.receive', bytes => "\xff" }), "\x82\x81\0\0\0\0\xff", 'bytes';
is $upgrade->to_app({ type => 'websocket.receive', bytes => 'b' x 300 }), "\x82\xfe\x01\x2c\0\0\0\0" . 'b' x 300, 'more bytes';
is $upgrade->to_app({ type => 'websocket.receive', bytes => 'b' x 70_000 }), "\x82\xff\0\0\0\0\0\x01\x11\x70\0\0\0\0" . 'b' x 70_000, 'still more';
is $upgrade->to_app({ type => 'websocket.disconnect', code => 4002, reason => 'bye' }), "\x88\x85\0\0\0\0\x0f\xa2bye", 'a close frame';
is $upgrade->to_app({ type => 'websocket.disconnect', code => 1005, reason => '' }), "\x88\x80\0\0\0\0", 'one without a code';
is $upgrade->to_app({ type => 'websocket.disconnect', code => 1006, reason => 'client_closed' }), '', 'none at an abnormal end';

done_testing;
