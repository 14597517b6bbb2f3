use strict;
use warnings;

# What applications do wrong, and clients that leave at any moment. /count tells how many calls go on.

use Future::AsyncAwait;

my $running = 0;
my @kept;

# A Running counts a call until its end, however that comes.
{ package Running; sub new { $running++; return bless {}, shift } sub DESTROY { $running-- } }

sub events { my ($scope) = @_; return $scope->{query_string} =~ /n=([0-9]+)/ ? $1 : 0 }

my %http = (
    '/count' => async sub { my ($scope, $receive, $send) = @_; await answer($send, $running - 1) },
    '/step'  => async sub {    # sends some events, and then waits for the client to leave
        my ($scope, $receive, $send) = @_;
        my $n = events($scope);
        await $send->({ type => 'http.response.start', status => 200 }) if $n;
        for my $i (2 .. $n) { await $send->({ type => 'http.response.body', body => 'x', more => 1 }) }
        my $event = await $receive->();
        $event = await $receive->() while $event->{type} ne 'http.disconnect';
    },
    '/callbacks' => async sub {
        my ($scope, $receive, $send) = @_;
        my ($conn, $transport) = @$scope{qw(pagi.connection pagi.transport)};
        $conn->on_complete(sub { die "dead in on_complete\n" });
        $conn->on_disconnect(sub { die "dead in on_disconnect\n" });
        $conn->disconnect_future->on_ready(sub { die "dead in disconnect_future\n" });
        $transport->on_high_water(sub { die "dead in on_high_water\n" })->on_drain(sub { die "dead in on_drain\n" });
        await $send->({ type => 'http.response.start', status => 200 });
        my $text = 'x' x 16000;
        for my $i (1 .. 20) { await $send->({ type => 'http.response.body', body => $text, more => 1 }) }
        await $send->({ type => 'http.response.body', body => 'end', more => $scope->{query_string} eq 'wait' ? 1 : 0 });
        return if $scope->{query_string} ne 'wait';
        my $event = await $receive->();
        $event = await $receive->() while $event->{type} ne 'http.disconnect';
    },
    '/waiting' => async sub {    # a Future of its own that nothing completes
        my ($scope, $receive, $send) = @_;
        my $future = IO::Async::Loop->new->new_future;
        push @kept, $future;
        $scope->{'pagi.connection'}->on_disconnect(sub { $future->cancel });
        await $future;
    },
    '/cancelled' => async sub {
        my ($scope, $receive, $send) = @_;
        my $n = grep { $_->is_cancelled } @kept;
        await answer($send, "$n of " . @kept);
    },
);

my %sse = (
    '/step' => async sub {
        my ($scope, $receive, $send) = @_;
        my $n = events($scope);
        await $send->({ type => 'sse.start' }) if $n;
        for my $i (2 .. $n) { await $send->({ type => 'sse.send', data => $i }) }
        my $event = await $receive->();
        $event = await $receive->() while $event->{type} ne 'sse.disconnect';
    },
    '/wide' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'sse.start' });
        await $send->({ type => 'sse.send', data => "\x{20ac} \x{e9}", event => "\x{263a}", id => "\x{100}" });
        await $send->({ type => 'sse.comment', comment => "\x{20ac}" });
        await $send->({ type => 'sse.send', data => 1.5, id => 2, retry => '30' });
    },
);

my %websocket = (
    '/step' => async sub {
        my ($scope, $receive, $send) = @_;
        my $n = events($scope);
        await $receive->() if $n;
        await $send->({ type => 'websocket.accept' }) if $n > 1;
        for my $i (3 .. $n) { await $send->({ type => 'websocket.send', text => $i }) }
        my $event = await $receive->();
        $event = await $receive->() while $event->{type} ne 'websocket.disconnect';
    },
);

my %on = (http => \%http, sse => \%sse, websocket => \%websocket);

async sub answer {
    my ($send, $text) = @_;
    await $send->({ type => 'http.response.start', status => 200 });
    await $send->({ type => 'http.response.body', body => $text });
}

async sub app {
    my ($scope, $receive, $send) = @_;
    my $code = ($on{ $scope->{type} } || {})->{ $scope->{path} || '' } or die "no scope of type $scope->{type} for this path\n";
    my $counted = Running->new;
    await $code->($scope, $receive, $send);
}

\&app;
