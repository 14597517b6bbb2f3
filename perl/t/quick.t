use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::Event qw(payload_of scope_of);
use PagiBridge::PAGI::Quick qw(quick_start quick_body quick_message);
use PagiBridge::PAGI::Rules ();

# What is packed in one step is what the rules and payload_of make of it, and nothing that the rules refuse is packed.

{
    package Text;
    use overload '""' => sub { $_[0][0] }, fallback => 1;
}

my @strings = (
    undef, '', 'x', 'text/plain', 'X-Name', 'a b', "a\0b", "a\nb", "\x{e9}", "\x{263a}", do { my $s = "caf\x{e9}"; utf8::upgrade($s); $s },
    'x' x 300, 'x' x 16376, 'x' x 16377, bless(['an object'], 'Text'), [], {}, 0, 7, 1.5,
);
my $seed = 17;
sub any { $seed = ($seed * 1103515245 + 12345) % 2**31; return $_[ ($seed >> 8) % @_ ] }

# slow returns the payload by the long way, undef where the event is refused.
sub slow {
    my ($scope, $stage, $event) = @_;
    my ($next, $problem) = eval { PagiBridge::PAGI::Rules::check($scope, $stage, $event) };
    return if !defined $next || defined $problem;
    return eval { payload_of($event) };
}

my ($packed, @wrong) = (0);
sub compare {
    my ($quick, $slow, $event) = @_;
    return if !defined $quick;
    $packed++;
    push @wrong, $event if !defined $slow || $quick ne $slow;
}

for (1 .. 20_000) {
    my @headers = map { any([ any('content-type', 'X-A', @strings), any('text/plain', '12', @strings) ], [ any(@strings) ], any(@strings)) } 1 .. any(0 .. 3);
    my $start = {
        type   => any('http.response.start', 'http.response.start', 'http.response.body', @strings),
        status => any(200, 200, 404, 999, '0200', 99, 1000, '200 ', @strings),
        any(0, 1, 1) ? (headers => any(\@headers, \@headers, \@headers, @strings)) : (),
        any(0, 0, 0, 1) ? (trailers => any(0, 1)) : (),
    };
    compare(scalar quick_start($start), scalar slow('http', 'begin', $start), $start);
    my $body = {
        type => any('http.response.body', 'http.response.body', 'http.response.start', @strings),
        body => any(@strings), any(0, 1) ? (more => any(0, 1, '', undef)) : (), any(0, 0, 1) ? (any('file', 'fh') => any(@strings)) : (),
    };
    compare(scalar quick_body($body), scalar slow('http', 'open', $body), $body);
    my $message = {
        type => any('websocket.send', 'websocket.send', 'websocket.close', @strings),
        any(0, 1) ? (text => any(@strings)) : (), any(0, 1) ? (bytes => any(@strings)) : (),
    };
    compare(scalar quick_message($message), scalar slow('websocket', 'open', $message), $message);
}
is_deeply \@wrong, [], 'the same payloads';
cmp_ok $packed, '>', 1000, 'many were packed';

# An empty value is one, and none is not.
ok defined quick_start({ type => 'http.response.start', status => 200, headers => [ [ 'x-empty', '' ] ] }), 'an empty value';
ok !defined quick_start({ type => 'http.response.start', status => 200, headers => [ [ 'x-empty', undef ] ] }), 'no value';
ok !defined quick_start({ type => 'http.response.start', status => 200, headers => [ map { [ "x-$_", 'x' x 1000 ] } 1 .. 20 ] }), 'more than a frame';

# Usual events are among them.
ok defined quick_start({ type => 'http.response.start', status => 200, headers => [ [ 'content-type', 'text/plain' ] ] }), 'a start';
ok defined quick_body({ type => 'http.response.body', body => 'Hello' }), 'a body';
ok defined quick_message({ type => 'websocket.send', text => 'Hello' }), 'a text';
ok defined quick_message({ type => 'websocket.send', bytes => "\x00\xff" }), 'bytes';

# More headers than are kept.
my @payloads = map { my $n = $_; map { quick_start({ type => 'http.response.start', status => 200, headers => [ [ 'x-n', $_ ] ] }) } $n, 0 } 1 .. 2000;
is scalar(grep { defined } @payloads), 4000, 'headers that differ';
is $payloads[1], $payloads[-1], 'one that comes again and again';

# Scopes with the same extensions do not share them.
my $payload = pack('C N (N/a*)13', 1, 13, '1.1', 'GET', 'http', '/', '/', '/', '', '', '192.0.2.1', 1, '192.0.2.2', 80, '')
    . pack('N N N (N/a*)4', 0, 0, 2, 'fullflush', '', 'http.informational', '');
my @scopes = map { scope_of($payload) } 1 .. 3;
is_deeply $_, $scopes[0], 'the same each time' for @scopes;
$scopes[1]{extensions}{fullflush}{mine} = 1;
delete $scopes[1]{extensions}{'http.informational'};
is_deeply $_->{extensions}, { fullflush => {}, 'http.informational' => {} }, 'of its own' for $scopes[2], scope_of($payload);
for my $cut (1 .. length($payload) - 1) {
    next if !defined eval { scope_of(substr $payload, 0, $cut) };
    fail("a scope that is cut off after $cut bytes");
}
for my $more ("\0", pack 'N', 0) {
    is eval { scope_of($payload . $more) }, undef, 'a scope with something behind it';
}
for my $name (qw(tls psgi.environ)) {
    my $special = substr($payload, 0, -length pack 'N (N/a*)4', 2, 'fullflush', '', 'http.informational', '') . pack 'N (N/a*)2', 1, $name, '';
    my @twice = map { my $s = eval { scope_of($special) }; $s ? $s->{extensions}{$name} : $@ } 1, 2;
    is_deeply $twice[1], $twice[0], "the extension $name";
}

done_testing;
