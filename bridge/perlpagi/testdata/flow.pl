use strict;
use warnings;

# Back-pressure: who sends more than the other side takes has to wait.

use Future::AsyncAwait;

my (%seen, $deaf);

async sub app {
    my ($scope, $receive, $send) = @_;
    die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'http' && $scope->{type} ne 'websocket';
    if ($scope->{type} eq 'websocket') {
        await $receive->();
        await $send->({ type => 'websocket.accept' });
        if ($scope->{path} eq '/deaf') {    # receives nothing, until /hear
            $deaf = IO::Async::Loop->new->new_future;
            await $deaf;
        }
        return;
    }
    $deaf->done if $scope->{path} eq '/hear';
    my $body = join ' ', map {"$_=$seen{$_}"} sort keys %seen;
    my $transport = $scope->{'pagi.transport'};
    await $send->({ type => 'http.response.start', status => 200 });
    if ($scope->{path} eq '/pour') {
        %seen = (high => 0, drain => 0, most => 0, waits => 0, marks => join '/', $transport->low_water_mark, $transport->high_water_mark);
        $transport->on_high_water(sub { $seen{high}++ })->on_drain(sub { $seen{drain}++ });
        my $text = 'x' x 16384;    # not a constant: Future::AsyncAwait 0.63 loses large ones when it suspends
        for my $piece (1 .. 256) {
            my $sent = $send->({ type => 'http.response.body', body => $text, more => 1 });
            my $now = $transport->buffered_amount;
            $seen{most} = $now if $now > $seen{most};
            $seen{waits}++ if !$sent->is_ready;
            await $sent;
        }
        $body = '';
    }
    await $send->({ type => 'http.response.body', body => $body });
}

\&app;
