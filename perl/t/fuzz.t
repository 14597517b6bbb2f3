use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";

use Deaf;

use PagiBridge::PSGI;
use PagiBridge::Wire qw(:frames frame parse_frames pack_pairs unpack_pairs unpack_strings);
use PagiBridge::Worker;

# Feeds the decoders with what a broken gateway might send: the streams in
# perl/t/corpus, cut at every byte, changed at random, and noise. A decoder yields
# frames, waits for more, or dies with a message of its own; it never warns, never
# hangs and never keeps more than it was given. A failure shows its input as hex:
# put that into a file of the corpus, where it is kept.
#
#     FUZZ_SEED=7 FUZZ_COUNT=100000 prove -v perl/t/fuzz.t

my $seed  = defined $ENV{FUZZ_SEED}  ? $ENV{FUZZ_SEED}  : 20;
my $count = defined $ENV{FUZZ_COUNT} ? $ENV{FUZZ_COUNT} : 3000;
diag "FUZZ_SEED=$seed FUZZ_COUNT=$count" if $ENV{FUZZ_SEED} || $ENV{FUZZ_COUNT};
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

# expected says what a stream holds, in the simplest way there is: the requests, how
# many of them come before the first DRAIN (-1 where there is none), the bytes behind the
# last whole frame, and whether it is refused.
sub expected {
    my ($bytes) = @_;
    my ($at, $until, @requests, @told) = (0, -1);
    while (length($bytes) - $at >= HEADER_SIZE) {
        my ($length, $stream, $type) = unpack 'N N C', substr $bytes, $at;
        return (\@requests, $until, undef, 1) if $length > MAX_PAYLOAD;
        last if length($bytes) - $at < HEADER_SIZE + $length;
        my ($place, $values) = unpack 'n a*', substr $bytes, $at + HEADER_SIZE, $length;
        if ($type == REQUEST) {
            return (\@requests, $until, undef, 1) if $length < 2 || !$told[$place];
            push @requests, "$stream:$values";
        }
        elsif ($type == NAMES) {
            return (\@requests, $until, undef, 1) if $length < 2 || !eval { unpack_strings($values, 0); 1 };
            $told[$place] = 1;
        }
        elsif ($type == DRAIN)  { $until = @requests if $until < 0 }
        elsif ($type != CANCEL) { return (\@requests, $until, undef, 1) }
        $at += HEADER_SIZE + $length;
    }
    return (\@requests, $until, substr($bytes, $at), 0);
}

# problem runs code and says what it did that no decoder may do.
sub problem {
    my ($code) = @_;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    local $SIG{ALRM} = sub { die "it hangs\n" };
    alarm 10;
    my $ok = eval { $code->(); 1 };
    alarm 0;
    return "warned: @warnings" if @warnings;
    return $ok || $@ =~ /\Awire: / ? '' : "died: $@";
}

# wrong gives a stream to a worker in pieces and says what is wrong with the outcome.
sub wrong {
    my ($bytes, @cuts) = @_;
    my ($from, @pieces) = (0);
    for my $to (@cuts, length $bytes) {
        push @pieces, substr $bytes, $from, $to - $from;
        $from = $to;
    }
    my $worker  = Deaf->fed(@pieces);
    my $refused = 1;
    my $problem = problem(sub { $worker->run($worker); $refused = 0 });
    return $problem if $problem;
    my ($requests, $until, $rest, $refuse) = expected($bytes);
    my @served = @{ $worker->{served} };
    if ($until >= 0) {    # it may end as soon as it is told to
        return 'it ends too early' if @served < $until;
        splice @$requests, scalar @served;
    }
    return 'other requests' if join('|', @served) ne join('|', @$requests);
    return '' if $until >= 0;
    return "refused: $refused" if $refused != $refuse;
    return $refused || ${ $worker->{in} } eq $rest ? '' : 'other bytes are kept';
}

# wrong_pairs does the same with the payload of a request.
sub wrong_pairs {
    my ($payload) = @_;
    my @list;
    my $problem = problem(sub { @list = unpack_pairs($payload) });
    return $problem if $problem || !@list;
    my $rest = pop @list;
    return pack_pairs(@list) . $rest eq $payload ? '' : 'what is not there';
}

# wrong_run has a worker serve a stream.
sub wrong_run {
    my ($bytes) = @_;
    my $worker = Deaf->fed($bytes);
    my $app = sub { return [200, [], [join '', map {"$_=$_[0]{$_}"} grep {/[A-Z]/} keys %{ $_[0] }]] };
    return problem(sub { $worker->run(PagiBridge::PSGI->new(app => $app, worker => $worker)) });
}

sub report {
    my ($what, $wrong, $bytes, @cuts) = @_;
    fail $what;
    diag "$wrong\n" . unpack('H*', $bytes) . (@cuts ? " cut at @cuts" : '');
    return;
}

# mutate changes a stream in one of the ways streams break.
my @corpus;
sub mutate {
    my ($bytes) = @_;
    for (0 .. random(3)) {
        my $at  = random(length($bytes) + 1);
        my $way = random(7);
        if    ($way == 0) { substr $bytes, $at, 1, chr random(256) }
        elsif ($way == 1) { substr $bytes, $at, random(8), '' }
        elsif ($way == 2) { substr $bytes, $at, 0, join '', map { chr random(256) } 0 .. random(8) }
        elsif ($way == 3) { $bytes = substr $bytes, 0, $at }
        elsif ($way == 4) { $bytes .= $corpus[random(scalar @corpus)] }
        elsif ($way == 5 && $at + 4 <= length $bytes) {    # a number on the edge
            my @edges = (0, 1, 0x7fffffff, 0x80000000, 0xffffffff, MAX_PAYLOAD, MAX_PAYLOAD + 1, length $bytes);
            substr $bytes, $at, 4, pack 'N', $edges[random(scalar @edges)];
        }
        elsif ($at < length $bytes) { substr $bytes, $at, 1, substr($bytes, $at, 1) ^ chr(1 << random(8)) }
    }
    return $bytes;
}

sub read_corpus {
    my %stream;
    for my $file (sort glob "$FindBin::Bin/corpus/*.hex") {
        open my $in, '<', $file or die "$file: $!";
        my $hex = join '', grep { !/^#/ } readline $in;
        $hex =~ s/\s+//g;
        my ($name) = $file =~ m{([^/]+)\.hex\z};
        $stream{$name} = pack 'H*', $hex;
    }
    return %stream;
}

my %stream = read_corpus();
@corpus = map { $stream{$_} } sort keys %stream;
cmp_ok scalar @corpus, '>=', 8, 'there is a corpus';

for my $name (sort keys %stream) {
    my $bytes = $stream{$name};
    my ($bad) = grep { wrong($bytes, $_) } 0 .. length $bytes;
    defined $bad ? report("$name cut", wrong($bytes, $bad), $bytes, $bad) : pass "$name cut at every byte";
    my $single = wrong($bytes, 1 .. length $bytes);
    $single ? report("$name in single bytes", $single, $bytes) : pass "$name in single bytes";
    my ($short) = grep { wrong(substr $bytes, 0, $_) } 0 .. length $bytes;
    defined $short ? report("$name begun", wrong(substr $bytes, 0, $short), substr $bytes, 0, $short) : pass "$name begun";
    my $served = wrong_run($bytes);
    $served ? report("$name served", $served, $bytes) : pass "$name served";
    my ($pairs) = grep { wrong_pairs(substr $bytes, $_) } 0 .. length $bytes;
    defined $pairs ? report("$name as pairs", wrong_pairs(substr $bytes, $pairs), substr $bytes, $pairs) : pass "$name as pairs";
}

my $failed;
for (1 .. $count) {
    my $bytes = mutate($corpus[random(scalar @corpus)]);
    my @cuts = sort { $a <=> $b } map { random(length($bytes) + 1) } 1 .. random(4);
    my $wrong = wrong($bytes, @cuts);
    last if $wrong && ($failed = report('changed streams', $wrong, $bytes, @cuts) || 1);
    $wrong = wrong_run($bytes);
    last if $wrong && ($failed = report('changed streams served', $wrong, $bytes) || 1);
    my $payload = length $bytes > HEADER_SIZE ? substr $bytes, HEADER_SIZE : $bytes;
    $wrong = wrong_pairs($payload);
    last if $wrong && ($failed = report('changed pairs', $wrong, $payload) || 1);
    my $buffer = $bytes;
    $wrong = problem(sub { my @frames = parse_frames(\$buffer); die "it grew\n" if length $buffer > length $bytes });
    last if $wrong && ($failed = report('changed frames', $wrong, $bytes) || 1);
}
pass "$count changed streams" if !$failed;

$failed = 0;
for (1 .. $count) {
    my $noise = join '', map { chr random(256) } 0 .. random(64);
    my $wrong = wrong($noise) || wrong_pairs($noise);
    last if $wrong && ($failed = report('noise', $wrong, $noise) || 1);
}
pass "$count times noise" if !$failed;

done_testing;
