use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::Wire qw(:frames frame parse_frames pack_pairs unpack_pairs unpack_strings);

# The bytes here are also in bridge/wire/wire_test.go: both sides must agree with them.
my $names = pack 'H*', '00000019' . '00000000' . '05' . '00'
    . '0000' . '0000000e' . '524551554553545f4d4554484f44' . '00000001' . '41';
my $request = pack 'H*', '0000000b' . '00000007' . '01' . '00'
    . '0000' . '474554' . '00' . '00' . '626f6479';
my $response = pack 'H*', '00000017' . '00000007' . '13' . '01'
    . '00c8' . '00000001' . '00000003' . '582d41' . '00000001' . '31' . '68656c6c6f';

is frame(NAMES, 0, 0, pack 'n (N/a*)*', 0, qw(REQUEST_METHOD A)), $names, 'names';
is frame(REQUEST, 0, 7, pack('n', 0) . join "\0", 'GET', '', 'body'), $request, 'a request';
is frame(RESPONSE, FIN, 7, pack('n', 200) . pack_pairs('X-A' => 1) . 'hello'), $response, 'a response';
is_deeply [unpack_pairs(pack_pairs(X => 1, Y => '') . 'rest')], [X => 1, Y => '', 'rest'], 'pairs and a rest';
is_deeply [unpack_pairs(pack_pairs())], [''], 'no pairs';

is frame(FORK, 0, 0, pack_pairs(token => 'T', worker => 9, output => '/p/')), pack('H*', '00000032' . '00000000' . '04' . '00'
    . '00000003' . '00000005' . '746f6b656e' . '00000001' . '54' . '00000006' . '776f726b6572' . '00000001' . '39'
    . '00000006' . '6f7574707574' . '00000003' . '2f702f'), 'a fork';
is unpack('H*', frame(FORKED, 0, 0, pack 'N N/a* a*', 42, 'T', 'no')), '0000000b' . '00000000' . '1b' . '00' . '0000002a' . '00000001' . '54' . '6e6f', 'a child';
is unpack('H*', frame(EXITED, 0, 0, pack 'N N', 42, 7 << 8)), '00000008' . '00000000' . '1d' . '00' . '0000002a' . '00000700', 'its end';

my $stream = $request . $response;
for my $n (0 .. length $stream) {
    my $buffer = substr $stream, 0, $n;
    my @first  = parse_frames(\$buffer);
    $buffer .= substr $stream, $n;
    my @frames = (@first, parse_frames(\$buffer));
    is_deeply [map { unpack 'H*', $_ } @frames], [map { unpack 'H*', $_ } $request, $response], "cut after $n bytes"
        or last;
    is $buffer, '', 'nothing is left';
}

my $long = pack 'N N C C', MAX_PAYLOAD + 1, 1, REQUEST, 0;
ok !eval { parse_frames(\$long); 1 }, 'a frame over the limit';
like $@, qr/over the limit/, 'says so';

# What does not add up; perl/t/fuzz.t has more.
for my $pairs ('', "\0\0\0", pack('N', 0xffffffff), pack('N N a', 1, 1, 'A'), pack('N N a N a', 1, 1, 'A', 2, 'b')) {
    ok !eval { unpack_pairs($pairs); 1 }, 'pairs: ' . unpack 'H*', $pairs;
    like $@, qr/\Awire: .* do not add up\n\z/, 'is refused';
}

for my $strings ("\0", pack('N', 1), pack 'N/a* N a', 'one', 4, 'two') {
    ok !eval { unpack_strings($strings, 0); 1 }, 'strings: ' . unpack 'H*', $strings;
    is $@, "wire: strings that do not add up\n", 'are refused';
}
is_deeply [unpack_strings(pack('n (N/a*)*', 1, 'A', '', 'B'), 2)], ['A', '', 'B'], 'strings from a place on';

done_testing;
