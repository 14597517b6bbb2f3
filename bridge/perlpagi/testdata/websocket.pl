use strict;
use warnings;

# WebSockets: echo, and what the path asks for.

use Future::AsyncAwait;

my @left;

my %on = (
    '/deny' => async sub {
        my ($scope, $receive, $send) = @_;
        die "no extension\n" if !$scope->{extensions}{'websocket.http.response'};
        await $send->({ type => 'websocket.http.response.start', status => 401, headers => [['www-authenticate', 'Bearer']] });
        await $send->({ type => 'websocket.http.response.body', body => 'who ', more => 1 });
        await $send->({ type => 'websocket.http.response.body', body => 'are you' });
    },
    '/refuse' => async sub { my ($scope, $receive, $send) = @_; await $send->({ type => 'websocket.close' }) },
    '/die'    => async sub { die "dead before the handshake\n" },
    '/left'   => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'websocket.accept' });
        await $send->({ type => 'websocket.send', text => join ',', splice @left });
        await $send->({ type => 'websocket.close', code => 1000 });
    },
);

async sub app {
    my ($scope, $receive, $send) = @_;
    die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'websocket';
    my $event = await $receive->();
    die "no connect\n" if $event->{type} ne 'websocket.connect';
    return await $on{ $scope->{path} }->($scope, $receive, $send) if $on{ $scope->{path} };

    await $send->({
        type        => 'websocket.accept',
        subprotocol => $scope->{subprotocols}[0],
        headers     => [['x-path', $scope->{path}]],
    });
    await $send->({ type => 'websocket.keepalive', interval => 30.5, timeout => 20 });
    while (1) {
        $event = await $receive->();
        if ($event->{type} eq 'websocket.disconnect') {
            push @left, "$event->{code} $event->{reason}";
            await $send->({ type => 'websocket.send', text => 'nobody' });    # does nothing
            return;
        }
        my $text = $event->{text};
        die "dead while open\n" if defined $text && $text eq 'die';
        if (defined $text && $text eq 'close') {
            return await $send->({ type => 'websocket.close', code => 4001, reason => 'as you wish' });
        }
        return if defined $text && $text eq 'return';
        if (defined $text && $text eq 'bytes of a text') {
            for my $e ("\xc3\xa9", "\xe9", "\x{20ac}") { await $send->({ type => 'websocket.send', text => $e }) }
            await $send->({ type => 'websocket.send', bytes => "\xe9" });
            eval { await $send->({ type => 'websocket.send', bytes => "\x{20ac}" }); 1 } or await $send->({ type => 'websocket.send', text => $@ });
            next;
        }
        await $send->(defined $text ? { type => 'websocket.send', text => 'echo ' . $text . ' of ' . length $text } : { type => 'websocket.send', bytes => $event->{bytes} });
    }
}

\&app;
