use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";

use Gateway;
use PagiBridge;
use PagiBridge::Wire qw(:frames HEADER_SIZE frame);

# measures takes the payload of a COUNT frame apart: [kind, name, {labels}, value, times...] of each measure.
sub measures {
    my ($payload) = @_;
    my @list;
    while (length $payload) {
        my ($kind, $name, $pairs) = unpack 'C N/a* N', $payload;
        substr $payload, 0, 9 + length $name, '';
        my @labels;
        for (1 .. 2 * $pairs) {
            my ($text) = unpack 'N/a*', $payload;
            substr $payload, 0, 4 + length $text, '';
            push @labels, $text;
        }
        push @list, [$kind, $name, {@labels}, unpack('d>', substr $payload, 0, 8, ''), $kind == 3 ? unpack('N*', substr $payload, 0, 48, '') : ()];
    }
    return @list;
}

sub told { return map { measures($_) } PagiBridge::take_counts() }

# refused is what an exception says of a call; its place is cut off.
sub refused {
    my ($function, @arguments) = @_;
    return 'nothing' if eval { PagiBridge->can($function)->(@arguments); 1 };
    my $error = $@;
    like $error, qr/ at \Q${\__FILE__}\E line [0-9]+\.\n\z/, 'the place of the call';
    return $error =~ s/ at \S+ line .*\n//r;
}

{
    PagiBridge::count('orders');
    PagiBridge::count('orders', 2);
    PagiBridge::count('orders', 0.5, { kind => 'web', from => undef });
    PagiBridge::gauge('carts', 4);
    PagiBridge::gauge('carts', -3);
    PagiBridge::timing('search', $_) for 0.004, 0.005, 0.006, 11;
    is $PagiBridge::uncounted, 1, 'there is something to tell';
    is_deeply [told()], [
        [1, 'orders', {}, 3],
        [1, 'orders', { kind => 'web', from => '' }, 0.5],
        [2, 'carts', {}, -3],
        [3, 'search', {}, 11.015, 2, 1, (0) x 9, 1],
    ], 'counters and timings are added up, of a gauge the last value is told';
    is $PagiBridge::uncounted, 0, 'then there is nothing';
    is_deeply [told()], [], 'nothing is told twice';

    PagiBridge::count('orders', 1);
    is_deeply [told()], [[1, 'orders', {}, 1]], 'a counter tells what was added since';
    PagiBridge::recount();
    is_deeply [told()], [[2, 'carts', {}, -3]], 'another gateway is told the gauges';
}

{
    is refused(count => $_), 'PagiBridge::count wants a name of small letters, digits and single underlines', 'a wrong name'
        for undef, '', 'Orders', '1st', 'a-b', 'a__b', "a\n", 'x' x 65;
    is refused(count => "orders_$_"), "PagiBridge::count wants a name without the end '_$_'", "the end _$_" for qw(total seconds sum count bucket);
    is refused(count => 'a', $_), 'PagiBridge::count wants a number', 'no number' for 'x', '', 'inf', 'nan', '1e16', "1\n2";
    is refused(gauge => 'a'), 'PagiBridge::gauge wants a number', 'a gauge without a value';
    is refused(count => 'a', -1), 'PagiBridge::count wants a number that is not negative', 'a negative count';
    is refused(timing => 'a', -1), 'PagiBridge::timing wants a number that is not negative', 'a negative time';
    is refused(count => 'a', 1, 'x'), 'PagiBridge::count wants a reference to a hash with 8 labels at most', 'no labels';
    is refused(count => 'a', 1, { map { ("l$_" => 1) } 1 .. 9 }), 'PagiBridge::count wants a reference to a hash with 8 labels at most', 'nine labels';
    is refused(count => 'a', 1, { 'Kind' => 1 }), 'PagiBridge::count wants labels with names of small letters, digits and single underlines', 'a wrong label';
    is refused(count => 'a', 1, { mount => 1 }), "PagiBridge::count wants a label that is not called 'mount'", 'a label of the gateway';
    is $PagiBridge::uncounted, 0, 'none of these was counted';
}

{
    my %value = (
        'text'     => ["\x{20ac}",          "\xe2\x82\xac"],
        'bytes'    => ["\xe2\x82\xac",      "\xe2\x82\xac"],
        'latin-1'  => ["\xe4",              "\xc3\xa4"],
        'too long' => ['x' x 127 . "\xe4\xf6", 'x' x 127],
    );
    for my $name (sort keys %value) {
        PagiBridge::count('texts', 1, { of => $value{$name}[0] });
        is_deeply [told()], [[1, 'texts', { of => $value{$name}[1] }, 1]], "a value as UTF-8: $name";
    }
}

{
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    PagiBridge::count('flood', 1, { n => $_ }) for 1 .. 1200;
    is @warnings, 1, 'one warning';
    like $warnings[0], qr/1000 label sets/, 'and what it says';
    my @payloads = PagiBridge::take_counts();
    cmp_ok scalar(grep { length > 64 * 1024 } @payloads), '==', 0, 'no frame is too long';
    is scalar(map { measures($_) } @payloads), 999, 'as many as there is room for beside the gauge';
}

{
    my $called = 0;
    local $PagiBridge::on_count = sub { $called++ };
    PagiBridge::count('calls') for 1 .. 3;
    is $called, 1, 'the runtime is called once until it has taken what there is';
    told();
    PagiBridge::count('calls');
    is $called, 2, 'and then again';
    told();
}

# A worker, and a gateway that takes counts or does not.
for my $takes (1, 0) {
    my $pid = start(sub {
        PagiBridge::count('requests', 1, { path => 'any' });
        return [200, [], ['x']];
    }, 0, undef, counts => $takes);
    to_worker join '', map { request($_, '/') } 1 .. 3;
    my (@types, @counted, @gauges);
    while (grep({ $_ == RESPONSE } @types) < 3 || $takes && @counted < 3) {
        for (next_frames()) {
            my ($length, $stream, $type) = unpack 'N N C', $_;
            push @types, $type;
            next if $type != COUNT;
            push @gauges, map { $_->[1] } grep { $_->[0] == 2 } my @measures = measures(substr $_, HEADER_SIZE);
            push @counted, map { [$stream, $_->[3]] } grep { $_->[0] == 1 } @measures;
        }
    }
    is_deeply \@counted, $takes ? [[0, 1], [0, 1], [0, 1]] : [], $takes ? 'each answer is followed by what was counted' : 'nothing is told without the feature';
    is_deeply \@gauges, $takes ? ['carts'] : [], 'and the gauges there are when the gateway comes';
    is stop($pid), 0, 'the worker ends';
}

done_testing;
