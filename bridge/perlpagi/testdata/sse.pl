use strict;
use warnings;

# Event streams.

use Future::AsyncAwait;

my @told;

my %on = (
    '/' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'sse.start', headers => [['x-from', 'worker']] });
        await $send->({ type => 'sse.keepalive', interval => 0 });
        await $send->({ type => 'sse.comment', comment => 'hello' });
        await $send->({ type => 'sse.send', event => 'count', id => 7, retry => 2000, data => "one\ntwo" });
        await $send->({ type => 'sse.send', data => "\xc3\xa9 \x{e9}" });
        await $send->({ type => 'sse.send', data => '{"n":1}', id => 'x' });
    },
    '/close' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'sse.start' });
        await $send->({ type => 'sse.close', reason => 'done' });
        await $send->({ type => 'sse.close' });
        push @told, eval { await $send->({ type => 'sse.send', data => 'late' }); 1 } ? 'accepted' : $@;
    },
    '/decline' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'sse.http.response.start', status => 404, headers => [['x-why', 'gone']] });
        await $send->({ type => 'sse.http.response.body', body => 'no such stream' });
    },
    '/body' => async sub {
        my ($scope, $receive, $send) = @_;
        my ($body, $event) = ('');
        do { $event = await $receive->(); $body .= $event->{body} } while $event->{more};
        await $send->({ type => 'sse.start' });
        await $send->({ type => 'sse.send', data => "$scope->{method} $body" });
    },
    '/wait' => async sub {
        my ($scope, $receive, $send) = @_;
        my $event = await $receive->();
        await $send->({ type => 'sse.start' });
        await $send->({ type => 'sse.send', data => 'open' });
        $event = await $receive->();
        push @told, "$event->{type} $event->{reason}";
    },
    '/told' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'sse.http.response.start', status => 200 });
        await $send->({ type => 'sse.http.response.body', body => join ',', splice @told });
    },
    '/newline' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'sse.start' });
        await $send->({ type => 'sse.send', event => "a\nb", data => 'x' });
    },
    '/die' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'sse.start' });
        await $send->({ type => 'sse.send', data => 'before' });
        die "dead in a stream\n";
    },
);

async sub app {
    my ($scope, $receive, $send) = @_;
    die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'sse';
    await $on{ $scope->{path} }->($scope, $receive, $send);
}

\&app;
