use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::Mux ();
use PagiBridge::Wire qw(:frames frame pack_pairs);

# What bridge/wire/CONFORMANCE.md does not ask: pieces of any size, and what is left in the end.

my $welcome = frame(WELCOME, 0, 0, pack('n N', VERSION, 1) . pack_pairs(features => 'scopes ping', window => 20000));

# mux returns a worker's side that has been welcomed, and a list of what it is told.
sub mux {
    my @told;
    my $mux = PagiBridge::Mux->new(token => 'T', on_scope => sub {
        my ($stream) = @_;
        push @told, [scope => $stream->id, $stream->payload];
        $stream->on_event(sub { push @told, [event => $stream->id, $_[0]]; $stream->taken($_[1]) });
        $stream->on_disconnect(sub { push @told, [gone => $stream->id, @_] });
    });
    my $hello = ${ $mux->out };
    is unpack('x8 C', $hello), HELLO, 'HELLO comes first';
    $mux->written(length $hello);
    $mux->feed($welcome);
    return ($mux, \@told);
}

# frames returns what a mux writes, as [type, flags, stream, payload].
sub frames {
    my ($mux) = @_;
    my $out = ${ $mux->out };
    $mux->written(length $out);
    my @frames;
    while (length $out) {
        my ($length, $stream, $type, $flags) = unpack 'N N C C', substr $out, 0, 10, '';
        push @frames, [$type, $flags, $stream, substr $out, 0, $length, ''];
    }
    return @frames;
}

my $stream = frame(SCOPE, 0, 1, 'scope') . frame(EVENT, PART, 1, 'ev') . frame(EVENT, 0, 1, 'ent')
    . frame(PING, 0, 0, '12345678') . frame(DISCONNECT, 0, 1, pack 'n a*', 1001, 'bye');
for my $n (0 .. length $stream) {
    my ($mux, $told) = mux();
    $mux->feed(substr $stream, 0, $n);
    $mux->feed(substr $stream, $n);
    is_deeply $told, [[scope => 1, 'scope'], [event => 1, 'event'], [gone => 1, 1001, 'bye']], "cut after $n bytes" or last;
}

# An application that waits in a loop of its own reads the next frames while the ones before are being taken.
{
    my (@told, $mux, $more);
    $mux = PagiBridge::Mux->new(token => 'T', on_scope => sub {
        my ($stream) = @_;
        push @told, 'scope ' . $stream->id;
        $stream->on_event(sub { push @told, 'event ' . $stream->id . " $_[0]" });
        if (defined(my $bytes = $more)) { undef $more; $mux->feed($bytes) }
        push @told, 'end ' . $stream->id;
    });
    $mux->feed($welcome);
    $more = frame(EVENT, 0, 2, 'b') . frame(SCOPE, 0, 3, '');
    $mux->feed(frame(SCOPE, 0, 1, '') . frame(EVENT, 0, 1, 'a') . frame(SCOPE, 0, 2, ''));
    is_deeply \@told, ['scope 1', 'event 1 a', 'scope 2', 'end 2', 'event 2 b', 'scope 3', 'end 3', 'end 1'], 'frames in their order, each once';
    $mux->feed(frame(EVENT, 0, 3, 'c'));
    is $told[-1], 'event 3 c', 'nothing is left over';
}

{
    my ($mux) = mux();
    $mux->feed(frame(SCOPE, 0, 1, ''));
    my ($s) = $mux->streams;
    $s->send('x' x 50000);
    $s->send('y');
    $s->end(0);
    is $s->buffered, 50000 + 1 + 2 * 10, 'what the client has not taken';    # two frames so far
    my @frames = frames($mux);
    is_deeply [map { [@$_[ 0, 1, 2 ], length $_->[3]] } @frames], [[EVENT, PART, 1, 16384], [EVENT, PART, 1, 3596]], 'as much as the window allows';
    $mux->feed(frame(CREDIT, 0, 1, pack 'N', 100));
    is_deeply [frames($mux)], [], 'no tiny pieces';
    $mux->feed(frame(CREDIT, 0, 1, pack 'N', 100000));
    @frames = frames($mux);
    is join('', map { $_->[3] } @frames), 'x' x (50000 - 16384 - 3596) . "y\0", 'the rest, and END';
    is $frames[-1][0], SCOPE_END, 'which is the last';
    is_deeply [$mux->streams], [], 'no stream is left';
    $mux->feed(frame(CREDIT, 0, 1, pack 'N', 10) . frame(DRAIN, 0, 0, ''));
    ok $mux->is_done, 'and nothing to be done';
}

for my $wrong (
    [frame(REFUSED, 0, 0, 'it is too old'), qr/refused this worker: it is too old/],
    [frame(WELCOME, 0, 0, pack('n N', 4, 1) . pack_pairs()), qr/version 4 was not offered/],
    [frame(READY, 0, 0, ''), qr/no WELCOME/],
    [frame(WELCOME, 0, 0, "\0"), qr/no WELCOME/],
) {
    my $mux = PagiBridge::Mux->new(token => 'T', on_scope => sub { });
    ok !eval { $mux->feed($wrong->[0]); 1 }, 'a wrong greeting';
    like $@, $wrong->[1], 'is refused';
}

done_testing;
