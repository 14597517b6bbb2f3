use strict;
use warnings;

# What an http scope can do: one path for each thing.

use Future::AsyncAwait;
use JSON::PP ();
use utf8;

my @told;    # by callbacks, for /told

{
    # A handle with its own way to read.
    package Tied;
    sub TIEHANDLE { my ($class, @pieces) = @_; return bless [@pieces], $class }
    sub READ { my $self = shift; my $piece = shift @$self; $_[0] = defined $piece ? $piece : ''; return length $_[0] }
    sub CLOSE { return 1 }

    package Lines;
    sub new { my ($class, @lines) = @_; return bless [@lines], $class }
    sub getline { return shift @{ $_[0] } }
}

sub file {
    my ($text) = @_;
    my $name = "$ENV{SCRATCH}/file-$$-" . rand;
    open my $out, '>:raw', $name or die "$name: $!";
    print {$out} $text;
    close $out or die "$name: $!";
    return $name;
}

my %handles = (
    plain  => sub { open my $in, '<:raw', file('plain file' x 1000) or die $!; $in },
    moved  => sub { open my $in, '<:raw', file('0123456789') or die $!; read $in, my $some, 4; $in },
    memory => sub { open my $in, '<', \(my $text = 'in memory') or die $!; $in },
    utf8   => sub { open my $in, '<:encoding(UTF-8)', file("\xc3\xa9") or die $!; $in },
    scalar => sub { \(my $text = 'scalar') },
    tied   => sub { tie *TIED, 'Tied', 'tied ', 'handle'; \*TIED },
    lines  => sub { Lines->new("one\n", "two\n") },
    pipe   => sub { open my $in, '-|', 'echo from a pipe' or die $!; $in },
    wide   => sub { open my $in, '<:encoding(UTF-8)', file("\xe2\x82\xac") or die $!; $in },
);

sub start {
    my ($send, %more) = @_;
    return $send->({ type => 'http.response.start', status => 200, headers => [['content-type', 'text/plain']], %more });
}

async sub answer {
    my ($send, $body, %more) = @_;
    await start($send, %more);
    await $send->({ type => 'http.response.body', body => $body });
    return;
}

async sub body_of {
    my ($receive) = @_;
    my ($body, $event) = ('');
    do {
        $event = await $receive->();
        return $event->{type} if $event->{type} ne 'http.request';
        $body .= $event->{body};
    } while $event->{more};
    return $body;
}

my %paths = (
    '/hello' => sub { my ($scope, $receive, $send) = @_; return answer($send, "hello\n") },
    '/echo'  => async sub { my ($scope, $receive, $send) = @_; await answer($send, await body_of($receive)) },
    '/scope' => async sub {
        my ($scope, $receive, $send) = @_;
        my %shown = map { $_ => $scope->{$_} } grep { !/\Apagi\./ } keys %$scope;
        delete $shown{pagi}{loop};
        $shown{objects} = [sort grep {/\Apagi\./} keys %$scope];
        await answer($send, JSON::PP->new->canonical->utf8->encode(\%shown));
    },
    '/twice' => async sub {    # a receive behind the last event waits for the disconnect
        my ($scope, $receive, $send) = @_;
        await body_of($receive);
        my $second = $receive->();
        await answer($send, $second->is_ready ? 'ready' : 'waits');
        my $event = await $second;
        push @told, $event->{type};
    },
    '/told'     => async sub { my ($scope, $receive, $send) = @_; await answer($send, join ',', splice @told) },
    '/large'    => async sub { my ($scope, $receive, $send) = @_; await answer($send, 'x' x 1_000_000) },
    '/pieces'   => async sub {
        my ($scope, $receive, $send) = @_;
        await start($send);
        for my $n (1 .. 3) { await $send->({ type => 'http.response.body', body => "piece $n\n", more => 1 }) }
        await $send->({ type => 'http.response.body' });
    },
    '/trailers' => async sub {
        my ($scope, $receive, $send) = @_;
        await start($send, trailers => 1);
        await $send->({ type => 'http.response.body', body => 'body' });
        await $send->({ type => 'http.response.trailers', headers => [['x-sum', 4]] });
    },
    '/file-trailers' => async sub {
        my ($scope, $receive, $send) = @_;
        await start($send, trailers => 1);
        my $first = $send->({ type => 'http.response.body', fh => $handles{scalar}->() });
        my $second = $send->({ type => 'http.response.trailers', headers => [['x-sum', 6]] });
        await $first;
        await $second;
    },
    '/early' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'http.response.informational', status => 103, headers => [['link', '</a.css>']] });
        await answer($send, 'done');
    },
    '/flush' => async sub {
        my ($scope, $receive, $send) = @_;
        await start($send);
        await $send->({ type => 'http.response.body', body => 'one ', more => 1 });
        await $send->({ type => 'http.fullflush' });
        await $send->({ type => 'http.response.body', body => 'two' });
    },
    '/file' => async sub {
        my ($scope, $receive, $send) = @_;
        my %query = map { split /=/ } split /&/, $scope->{query_string};
        my $name = defined $query{name} ? $query{name} : file('0123456789' x 1000);
        await start($send);
        await $send->({ type => 'http.response.body', file => $name, (map { $_ => $query{$_} } grep { defined $query{$_} } qw(offset length)) });
        unlink $name;    # the gateway has it
    },
    '/fh' => async sub {
        my ($scope, $receive, $send) = @_;
        my %query = map { split /=/ } split /&/, $scope->{query_string};
        my $handle = $handles{ $query{kind} }->();
        await start($send);
        await $send->({ type => 'http.response.body', fh => $handle, (map { $_ => $query{$_} } grep { defined $query{$_} } qw(offset length)) });
        close $handle if ref $handle eq 'GLOB';
    },
    '/closed' => async sub {
        my ($scope, $receive, $send) = @_;
        open my $in, '<', '/dev/null' or die $!;
        close $in;
        await $send->({ type => 'http.response.body', fh => $in });
    },
    '/text' => async sub {    # flagged, in UTF-8 already, and Latin-1
        my ($scope, $receive, $send) = @_;
        my $flagged = "\x{e9}";
        utf8::upgrade($flagged);
        my $downgraded = "\xe9";
        utf8::downgrade($downgraded);
        await answer($send, $flagged . $downgraded);
    },
    '/wide'  => async sub { my ($scope, $receive, $send) = @_; await answer($send, "\x{20ac}") },
    '/undef' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'http.response.start', status => 200, headers => undef, trailers => undef });
        await $send->({ type => 'http.response.body', body => undef, more => undef, file => undef });
    },
    '/numbers' => async sub {
        my ($scope, $receive, $send) = @_;
        await $send->({ type => 'http.response.start', status => '201', headers => [['x-int', 7], ['x-float', 1.5], ['X-Upper', 'yes']] });
        await $send->({ type => 'http.response.body', body => 3.25, more => '0' });
    },
    '/die'         => async sub { die "dead at once\n" },
    '/die-plain'   => sub { die "a plain death\n" },
    '/die-failed'  => sub { return Future->fail("a failed Future\n") },
    '/die-object'  => async sub { die bless { message => 'object' }, 'My::Error' },
    '/die-later'   => async sub {
        my ($scope, $receive, $send) = @_;
        await start($send);
        await $send->({ type => 'http.response.body', body => 'some', more => 1 });
        die "dead later\n";
    },
    '/die-after'   => async sub { my ($scope, $receive, $send) = @_; await answer($send, 'done'); die "dead after the answer\n" },
    '/die-callback' => async sub {
        my ($scope, $receive, $send) = @_;
        $scope->{'pagi.connection'}->on_complete(sub { die "dead in a callback\n" });
        $scope->{'pagi.connection'}->on_complete(sub { push @told, 'second callback' });
        await answer($send, 'done');
    },
    '/nothing'     => async sub { return },
    '/no-future'   => sub { return 7 },
    '/psgi'        => sub { return [200, [], ['hello']] },
    '/unfinished'  => async sub { my ($scope, $receive, $send) = @_; await start($send) },
    '/unawaited'   => sub {
        my ($scope, $receive, $send) = @_;
        start($send);
        $send->({ type => 'http.response.body', body => 'not awaited' });
        return Future->done;
    },
    '/later' => async sub {
        my ($scope, $receive, $send) = @_;
        await IO::Async::Loop->new->delay_future(after => 0.01);
        await answer($send, ref IO::Async::Loop->new);
    },
    '/future-io' => async sub {
        my ($scope, $receive, $send) = @_;
        require Future::IO;
        await Future::IO->sleep(0.01);
        await answer($send, 'slept');
    },
    '/connection' => async sub {
        my ($scope, $receive, $send) = @_;
        my $conn = $scope->{'pagi.connection'};
        my @seen = map { $conn->$_ ? 1 : 0 } qw(is_connected response_started response_complete);
        $conn->on_complete(sub { push @told, 'complete ' . join '', map { $conn->$_ ? 1 : 0 } qw(is_connected response_started response_complete) });
        $conn->on_disconnect(sub { push @told, "disconnect $_[0]" });
        await start($send);
        push @seen, $conn->response_started;
        await $send->({ type => 'http.response.body', body => join '', @seen });
    },
    '/leave' => async sub {
        my ($scope, $receive, $send) = @_;
        my $conn = $scope->{'pagi.connection'};
        my @waiting = map { $receive->() } 1 .. 1000;
        shift(@waiting)->cancel;
        $conn->on_disconnect(sub { push @told, "callback $_[0] " . ($conn->is_connected ? 1 : 0) });
        await start($send);
        await $send->({ type => 'http.response.body', body => 'first', more => 1 });
        my $reason = await $conn->disconnect_future;
        push @told, "future $reason";
        my %types;
        for my $future (@waiting) {
            my $event = await $future;
            $types{ $event->{type} }++;
        }
        push @told, join ' ', map {"$_ $types{$_}"} sort keys %types;
        await $send->({ type => 'http.response.body', body => 'nobody reads it' });
        push @told, 'sent';
    },
    '/endless' => async sub {
        my ($scope, $receive, $send) = @_;
        await start($send);
        await $send->({ type => 'http.response.body', body => '.', more => 1 });
        push @told, 'endless';
        await IO::Async::Loop->new->new_future;    # never ready
    },
    '/race' => async sub {
        my ($scope, $receive, $send) = @_;
        my $conn = $scope->{'pagi.connection'};
        my $loop = IO::Async::Loop->new;
        for my $n (1 .. 3) { await Future->wait_any($loop->delay_future(after => 0.01), $conn->disconnect_future) }
        await answer($send, 'raced');
    },
    '/state' => async sub {
        my ($scope, $receive, $send) = @_;
        $scope->{state}{private}++;
        $scope->{state}{shared}{count}++ if $scope->{state}{shared};
        await answer($send, JSON::PP->new->canonical->encode($scope->{state}));
    },
    '/pid'   => async sub { my ($scope, $receive, $send) = @_; await answer($send, $$) },
    '/block' => async sub { my ($scope, $receive, $send) = @_; sleep 2; await answer($send, $$) },
    '/refused' => async sub {    # what an event must not be; each is an exception, and the scope goes on
        my ($scope, $receive, $send) = @_;
        my @events = (
            'no hash', {}, { type => 'http.nonsense' }, { type => 'sse.send', data => '' },
            { type => 'http.response.body', body => 'before the start' },
            { type => 'http.response.start' }, { type => 'http.response.start', status => 'ok' }, { type => 'http.response.start', status => 100 },
            { type => 'http.response.start', status => 200, headers => { a => 1 } },
            { type => 'http.response.start', status => 200, headers => [['a']] },
            { type => 'http.response.start', status => 200, headers => [['a', undef]] },
            { type => 'http.response.start', status => 200, headers => [['a b', 1]] },
            { type => 'http.response.start', status => 200, headers => [['a', "1\r\nb: 2"]] },
            { type => 'http.response.start', status => 200, headers => [['a', "\x{20ac}"]] },
        );
        my @problems;
        for my $event (@events) {
            eval { await $send->($event); push @problems, 'accepted'; 1 } or push @problems, $@;
        }
        await start($send);
        await $send->({ type => 'http.response.body', body => join '', @problems });
    },
    '/duplicate' => async sub {
        my ($scope, $receive, $send) = @_;
        await start($send);
        await $send->({ type => 'http.response.start', status => 404 });
        await $send->({ type => 'http.response.body', body => 'first' });
        await $send->({ type => 'http.response.body', body => 'second' });
    },
);

async sub lifespan {
    my ($scope, $receive, $send) = @_;
    while (1) {
        my $event = await $receive->();
        if ($event->{type} eq 'lifespan.startup') {
            $scope->{state}{shared} = { count => 0, worker => $scope->{pagi}{worker_num}, is_worker => $scope->{pagi}{is_worker} };
            await $send->({ type => 'lifespan.startup.complete' });
        }
        elsif ($event->{type} eq 'lifespan.shutdown') {
            if (open my $out, '>>', "$ENV{SCRATCH}/shutdown") { print {$out} "$$\n" }
            await $send->({ type => 'lifespan.shutdown.complete' });
            return;
        }
    }
}

sub app {
    my ($scope, $receive, $send) = @_;
    return lifespan(@_) if $scope->{type} eq 'lifespan';
    die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'http';
    my $code = $paths{ $scope->{path} } or return answer($send, 'no such page', status => 404);
    return $code->(@_);
}

\&app;
