use strict;
use warnings;
use utf8;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();

use PagiBridge::Event qw(scope_of event_of payload_of disconnect_of);

# The payloads are also those of bridge/wire/event_test.go: both sides must agree with them.
my $file = "$FindBin::Bin/../../bridge/wire/testdata/events.json";
open my $in, '<', $file or die "$file: $!\n";
my %payload = %{ JSON::PP->new->utf8->decode(do { local $/; <$in> }) };
close $in;

my %event = (
    'http.request'                  => { type => 'http.request', body => 'body', more => 1 },
    'http.request, the last'        => { type => 'http.request', body => '', more => 0, trailers => [['x-sum', '1']] },
    'websocket.connect'             => { type => 'websocket.connect' },
    'websocket.receive, text'       => { type => 'websocket.receive', text => 'Grüße' },
    'websocket.receive, bytes'      => { type => 'websocket.receive', bytes => "\0\xff" },
    'sse.request'                   => { type => 'sse.request', body => 'q', more => 1 },
    'lifespan.startup'              => { type => 'lifespan.startup' },
    'lifespan.shutdown'             => { type => 'lifespan.shutdown' },
    'http.response.informational'   => { type => 'http.response.informational', status => 103, headers => [['link', '</a>']] },
    'http.response.start'           => { type => 'http.response.start', status => 200, headers => [['a', 1], ['a', 2]] },
    'http.response.start, trailers' => { type => 'http.response.start', status => 999, trailers => 1 },
    'http.response.body'            => { type => 'http.response.body', body => 'body', more => 1 },
    'http.response.body, the last'  => { type => 'http.response.body' },
    'http.response.trailers'        => { type => 'http.response.trailers', headers => [['x-sum', 4]] },
    'http.fullflush'                => { type => 'http.fullflush' },
    'websocket.accept'              => { type => 'websocket.accept', subprotocol => 'v1', headers => [['a', 'b']] },
    'websocket.send, text'          => { type => 'websocket.send', text => 'Grüße' },
    'websocket.send, bytes'         => { type => 'websocket.send', bytes => "\0\xff" },
    'websocket.keepalive'           => { type => 'websocket.keepalive', interval => 2.5, timeout => 60 },
    'websocket.close'               => { type => 'websocket.close', code => 4001, reason => 'enough' },
    'websocket.http.response.start' => { type => 'websocket.http.response.start', status => 401, headers => [['a', 'b']] },
    'websocket.http.response.body'  => { type => 'websocket.http.response.body', body => 'no', more => 1 },
    'sse.start'                     => { type => 'sse.start', headers => [['a', 'b']] },
    'sse.send'                      => { type => 'sse.send', data => "a\nb" },
    'sse.send, all'                 => { type => 'sse.send', data => '', event => 'e', id => 7, retry => 0 },
    'sse.comment'                   => { type => 'sse.comment', comment => 'c' },
    'sse.keepalive'                 => { type => 'sse.keepalive', interval => 15, comment => 'k' },
    'sse.close'                     => { type => 'sse.close', reason => 'enough' },
    'sse.http.response.start'       => { type => 'sse.http.response.start', status => 404, headers => [['a', 'b']] },
    'sse.http.response.body'        => { type => 'sse.http.response.body', body => 'no' },
    'lifespan.startup.complete'     => { type => 'lifespan.startup.complete' },
    'lifespan.startup.failed'       => { type => 'lifespan.startup.failed', message => 'no database' },
    'lifespan.shutdown.complete'    => { type => 'lifespan.shutdown.complete' },
    'lifespan.shutdown.failed'      => { type => 'lifespan.shutdown.failed', message => 'late' },
);

# A file is sent by other means than payload_of.
delete @payload{ 'http.response.body, a file', q{http.response.body, a file's rest} };
is_deeply [sort keys %event], [sort keys %payload], 'all events have a case';

for my $name (sort keys %payload) {
    my $event = $event{$name} or next;
    if ($name =~ /\A(?:http[.]request|websocket[.](?:connect|receive)|sse[.]request|lifespan[.](?:startup|shutdown)\z)/) {
        is_deeply event_of(pack 'H*', $payload{$name}), $event, "$name comes";
        ok !eval { payload_of($event); 1 }, "$name is not sent";
    }
    else {
        is unpack('H*', payload_of($event)), $payload{$name}, "$name is sent";
        ok !eval { event_of(pack 'H*', $payload{$name}); 1 }, "$name does not come";
    }
}

# Text or bytes: the same for characters, for UTF-8, and for Latin-1.
my $utf8 = "\xc3\xa9";
for my $text ("\x{e9}", do { my $t = "\x{e9}"; utf8::upgrade($t); $t }, $utf8) {
    is substr(payload_of({ type => 'sse.send', data => $text }), 8), $utf8, 'a text is sent in UTF-8';
}
ok !eval { payload_of({ type => 'http.response.body', body => "\x{263a}" }); 1 }, 'a wide character in a body';
like $@, qr/\Ahttp[.]response[.]body: wide character in 'body', which must be bytes\n\z/, 'says so';
for my $wrong ({}, { type => 'http.response.start' }, { type => 'http.response.start', status => '20' }, { type => 'nonsense' }, 'text',
    { type => 'http.response.start', status => 200, headers => [['a']] }, { type => 'websocket.send' })
{
    ok !eval { payload_of($wrong); 1 }, 'refused: ' . (ref $wrong ? join ',', %$wrong : $wrong);
}

my @values = ('1.1', 'GET', 'http', "/\xc3\xa9", '/%C3%A9', '/%C3%A9?', '', '', '192.0.2.1', 4711, '/run/s', '');
my $scope  = scope_of(scope(1, \@values, ['host', 'a', 'x', 1, 'x', 2], [], ['fullflush', '']));
is_deeply $scope, {
    type => 'http', pagi => { version => '0.3', spec_version => '0.3' }, http_version => '1.1', method => 'GET', scheme => 'http', path => "/\x{e9}",
    raw_path => '/%C3%A9', target => '/%C3%A9?', query_string => '', root_path => '', client => ['192.0.2.1', 4711], server => ['/run/s', undef],
    headers => [['host', 'a'], ['x', 1], ['x', 2]], extensions => { fullflush => {} },
}, 'a scope';
is scope_of(scope(1, ['1.1', 'GET', 'http', "/\xff"], [], [], []))->{path}, "/\xff", 'a path that is not UTF-8 stays as it is';
is_deeply scope_of(scope(2, ['1.1', '', 'ws', '/'], [], ['v1', 'v2'], []))->{subprotocols}, ['v1', 'v2'], 'subprotocols';
is scope_of(scope(4, [('') x 12, 3], [], [], []))->{pagi}{worker_num}, 3, 'the number of a worker';
my $tls = pack 'N (N/a*)*', 3, version => 772, client_cert_chain => 'one', client_cert_chain => 'two';
is_deeply scope_of(scope(1, [], [], [], [tls => $tls]))->{extensions}{tls}, { tls_version => 772, client_cert_chain => ['one', 'two'] }, 'tls';

my $whole = scope(1, \@values, ['host', 'a'], ['p'], ['e', 'd']);
for my $n (0 .. length($whole) - 1) {
    ok !eval { scope_of(substr $whole, 0, $n); 1 }, "a scope that is cut after $n bytes";
    like $@, qr/\Awire: /, 'is refused';
}
is_deeply disconnect_of('websocket', 0, 'gone'), { type => 'websocket.disconnect', code => 1006, reason => 'gone' }, 'a disconnect';
is disconnect_of('websocket', 1000, "\xc3\xa9")->{reason}, "\x{e9}", 'a reason is characters';
is disconnect_of('websocket', 1000, "\xe9")->{reason}, "\xe9", 'one that is not UTF-8 stays';
ok eval { payload_of({ type => 'websocket.close', reason => "\x{e9}" x 61 }) }, 'a reason of 122 bytes';
ok !eval { payload_of({ type => 'websocket.close', reason => "\x{e9}" x 62 }); 1 }, 'one of 124 bytes';
like $@, qr/'reason' must be at most 123 bytes of UTF-8/, 'is refused';
is_deeply disconnect_of('http', 0, ''), { type => 'http.disconnect' }, 'another';

done_testing;

sub scope {
    my ($type, $list, $headers, $protocols, $extensions) = @_;
    return pack('C N', $type, scalar @$list) . join('', map { pack 'N/a*', $_ } @$list)
        . pairs($headers) . pack('N', scalar @$protocols) . join('', map { pack 'N/a*', $_ } @$protocols) . pairs($extensions);
}

sub pairs { return pack('N', @{ $_[0] } / 2) . join '', map { pack 'N/a*', $_ } @{ $_[0] } }
