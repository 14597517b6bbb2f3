use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP ();

use PagiBridge::Event qw(scope_of event_of);
use PagiBridge::Mux ();
use PagiBridge::Wire qw(:frames frame pack_pairs);

# Feeds the multiplexing side with what a broken gateway might send: the frames of the conformance
# cases' kinds, changed at random, cut and put together. Whatever comes, it dies with a sentence of its
# own or goes on; it never warns, and never hangs.
#
#     FUZZ_SEED=7 FUZZ_COUNT=100000 prove -v perl/t/mux_fuzz.t

my $seed  = defined $ENV{FUZZ_SEED}  ? $ENV{FUZZ_SEED}  : 20;
my $count = defined $ENV{FUZZ_COUNT} ? $ENV{FUZZ_COUNT} : 3000;
note "FUZZ_SEED=$seed FUZZ_COUNT=$count";

# random is the same on every system and with every perl: xorshift.
my $state = ($seed * 2654435761 + 1) & 0xffffffff;
sub random {
    my ($below) = @_;
    $state ^= ($state << 13) & 0xffffffff;
    $state ^= $state >> 17;
    $state ^= ($state << 5) & 0xffffffff;
    return $state % $below;
}

my $file = "$FindBin::Bin/../../bridge/wire/testdata/events.json";
open my $in, '<', $file or die "$file: $!\n";
my @events = map { pack 'H*', $_ } sort values %{ JSON::PP->new->utf8->decode(do { local $/; <$in> }) };
close $in;
my $scope = pack('C N (N/a*)13', 1, 13, '1.1', 'GET', 'http', '/', '/', '/', '', '', '192.0.2.1', 1, '192.0.2.2', 80, '')
    . pack('N (N/a*)*', 1, 'host', 'a') . pack('N', 0) . pack('N (N/a*)*', 1, 'fullflush', '');

# one returns a frame that could come, or nearly.
sub one {
    my $stream = 1 + random(4);
    my @kinds  = (
        sub { frame(SCOPE, 0, $stream, $scope) },
        sub { frame(EVENT, random(4) ? 0 : PART, $stream, $events[ random(scalar @events) ]) },
        sub { frame(CREDIT, 0, $stream, pack 'N', random(4) ? random(100000) : 0x7fffffff) },
        sub { frame(DISCONNECT, 0, $stream, pack 'n a*', random(5000), 'client_closed') },
        sub { frame(PING, 0, 0, '12345678') },
        sub { frame(DRAIN, 0, 0, '') },
        sub { frame(random(256), random(256), random(6), 'x' x random(40)) },
    );
    return $kinds[ random(scalar @kinds) ]->();
}

my $welcome = frame(WELCOME, 0, 0, pack('n N', VERSION, 1) . pack_pairs(features => 'scopes ping'));
my ($problems, $ended, $served) = (0, 0, 0);
for my $round (1 .. $count) {
    my $bytes = join '', map { one() } 1 .. 1 + random(12);
    substr $bytes, random(length $bytes), 1, chr random(256) if random(2);
    my $whole = $bytes;
    my (@warnings, %sent);
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    local $SIG{ALRM} = sub { die "it hangs\n" };
    alarm 10;
    my $ok = eval {
        my $mux = PagiBridge::Mux->new(token => 'T', on_scope => sub {
            my ($stream) = @_;
            $served++;
            scope_of($stream->payload);
            $stream->send('x' x random(200000)) if random(2);
            $stream->on_event(sub { event_of($_[0]); $stream->taken($_[1]); $stream->end(0) if !random(4) });
            $stream->on_disconnect(sub { $stream->end(0) if random(2) });
        });
        $mux->feed($welcome);
        while (length $bytes) {
            $mux->feed(substr $bytes, 0, 1 + random(200), '');
        }
        1;
    };
    my $error = $@;
    alarm 0;
    $ended++ if !$ok;
    next if !@warnings && ($ok || $error =~ /\Awire: /);
    diag "@warnings$error" . unpack 'H*', $whole if $problems++ < 5;
}
is $problems, 0, "$count streams of frames";
cmp_ok $ended,  '>', $count / 10, 'many of which are refused';
cmp_ok $served, '>', $count / 10, 'and many of which open scopes';

done_testing;
