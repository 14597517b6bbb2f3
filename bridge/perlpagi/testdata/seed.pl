use strict;
use warnings;

# An application of specification 0.1: it takes the loop from the scope.

use Future::AsyncAwait;

async sub app {
    my ($scope, $receive, $send) = @_;
    if ($scope->{type} eq 'sse') {
        my $first = $receive->();
        await $send->({ type => 'sse.start' });
        await $send->({ type => 'sse.send', data => $first->is_ready ? 'an event' : 'nothing yet' });
        return;
    }
    die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'http';
    my $event = await $receive->();
    await $scope->{pagi}{loop}->delay_future(after => 0.01);
    await $send->({ type => 'http.response.start', status => 201, headers => [['x-spec', $scope->{pagi}{version}]] });
    await $send->({ type => 'http.response.body', body => "$event->{type} $scope->{method} ", more => 1 });
    await $send->({ type => 'http.response.body', body => $event->{body} . ref $scope->{pagi}{features} });
}

\&app;
