use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

BEGIN {
    for my $module (qw(IO::Async::Loop Future)) {
        eval "require $module; 1" or plan skip_all => "perl has no module $module";    ## no critic (ProhibitStringyEval)
    }
}

use PagiBridge::Mux ();
use PagiBridge::PAGI ();
use PagiBridge::Wire qw(:frames frame pack_pairs);

# The worker's side of scopes without a gateway: who waits for whom, and how a scope ends. The tests of
# bridge/perlpagi have the rest.

my $loop = IO::Async::Loop->new;
my ($mux, $server, @frames, @warnings);
$SIG{__WARN__} = sub { push @warnings, @_ };

{
    package Link;
    sub new {
        my ($class, $mux) = @_;
        my (undef, $low) = PagiBridge::PAGI::Transport::marks($mux->peer->{window});
        return bless { mux => $mux, asked => 0, low => $low }, $class;
    }
    sub mux   { return $_[0]{mux} }
    sub touch { return }
    sub finish { main::read_out(); return }
}

# serve starts a server with an application, and a lifespan that it declines.
sub serve {
    my ($app, %options) = @_;
    $mux = PagiBridge::Mux->new(token => 'T', on_scope => sub { $server->serve($_[0], $server->{link}) }, on_drain => sub { $server->drain });
    $mux->written(length ${ $mux->out });
    $mux->feed(frame(WELCOME, 0, 0, pack('n N', VERSION, 1) . pack_pairs(features => 'scopes ping', window => 65536)));
    $server = PagiBridge::PAGI->new(
        app => sub { return $_[0]{type} eq 'lifespan' ? Future->done : $app->(@_) },
        loop => $loop, link => Link->new($mux), worker => 1, %options,
    );
    $server->start(sub { @frames = () });
    return;
}

# read_out takes what would be written: [type, stream, payload] of each frame.
sub read_out {
    my $out = ${ $mux->out };
    $mux->written(length $out);
    while (length $out) {
        my ($length, $stream, $type) = unpack 'N N C', substr $out, 0, 10, '';
        push @frames, [$type, $stream, substr $out, 0, $length, ''];
    }
    return;
}

# taken returns the frames of a type since the last call, and forgets all.
sub taken {
    my ($type) = @_;
    read_out();
    my @found = grep { $_->[0] == $type } @frames;
    @frames = ();
    return @found;
}

# begin opens a scope.
my $id = 0;
sub begin {
    my ($kind, $path) = @_;
    $id = 0 if !$mux->streams && !$mux->{last};
    $id = $mux->{last} + 1;
    $mux->feed(frame(SCOPE, 0, $id, pack('C N (N/a*)13', $kind, 13, '1.1', 'GET', 'http', $path, $path, $path, '', '', '192.0.2.1', 1, '192.0.2.2', 80, '')
        . pack('N N N', 0, 0, 0)));
    return $id;
}

sub event { my ($id, $kind, $bits, $rest) = @_; $mux->feed(frame(EVENT, 0, $id, pack('C C n N', $kind, $bits, 0, 0) . $rest)); return }

# Credit for an event comes with the next receive, and never for one that is not received.
{
    my ($receive, @got);
    serve(sub { (undef, $receive) = @_; return $loop->new_future });
    my $id = begin(1, '/');
    event($id, 0x01, 1, 'a' x 1000);
    event($id, 0x01, 1, 'b' x 1000);
    is scalar(taken(CREDIT)), 0, 'no credit for what was not received';
    $receive->()->on_done(sub { push @got, $_[0]{body} });
    is scalar(taken(CREDIT)), 0, 'none for what the application is busy with';
    $receive->()->on_done(sub { push @got, $_[0]{body} });
    my ($credit) = taken(CREDIT);
    is unpack('N', $credit->[2]), 1018, 'credit for the first event';
    is join(' ', map { substr $_, 0, 1 } @got), 'a b', 'events in their order';
    $receive->()->on_done(sub { push @got, $_[0]{type} });
    $mux->feed(frame(DISCONNECT, 0, $id, pack 'n a*', 0, 'client_closed'));
    is $got[-1], 'http.disconnect', 'the receive that waits gets the disconnect';
}

# A send waits once the window is used up, until the amount is below the low mark.
{
    my ($send, $scope);
    serve(sub { ($scope, undef, $send) = @_; return $loop->new_future });
    my $id = begin(1, '/');
    $send->({ type => 'http.response.start', status => 200 });
    my @sent = map { $send->({ type => 'http.response.body', body => 'x' x 16000, more => 1 }) } 1 .. 6;
    is join('', map { $_->is_ready ? 1 : 0 } @sent), '111100', 'four fit into the window';
    my $transport = $scope->{'pagi.transport'};
    my @told;
    $transport->on_high_water(sub { push @told, 'high' })->on_drain(sub { push @told, 'drain' });
    cmp_ok $transport->buffered_amount, '>', 96_000, 'all of it is buffered';
    $mux->feed(frame(CREDIT, 0, $id, pack 'N', 50_000));
    is join('', map { $_->is_ready ? 1 : 0 } @sent), '111100', 'all is sent, but the amount is not low';
    $mux->feed(frame(CREDIT, 0, $id, pack 'N', 40_000));
    is join('', map { $_->is_ready ? 1 : 0 } @sent), '111111', 'the amount is low';
    is "@told", 'high drain', 'the callbacks of the transport';
}

# What waits is ready when the client leaves; an application that has been cancelled ends.
{
    my (@ready, $app);
    serve(sub {
        my (undef, $receive, $send) = @_;
        $send->({ type => 'http.response.start', status => 200 });
        $_->on_ready(sub { push @ready, $_[0]->is_done ? 'done' : 'not' })
            for map({ $send->({ type => 'http.response.body', body => 'x' x 16000, more => 1 }) } 1 .. 1000), map { $receive->() } 1 .. 1000;
        return $app = $loop->new_future;
    }, grace => 0.01);
    my $id = begin(1, '/');
    $mux->feed(frame(DISCONNECT, 0, $id, pack 'n a*', 0, 'client_closed'));
    is scalar(@ready), 2000, 'all Futures are ready';
    is scalar(grep { $_ ne 'done' } @ready), 0, 'and none has failed';
    is scalar(taken(SCOPE_END)), 0, 'the application goes on';
    $loop->loop_once(1) until $app->is_ready;
    is scalar(taken(SCOPE_END)), 1, 'it is cancelled after its grace';
    is scalar($mux->streams), 0, 'no stream is left';
}

# An exception in a callback of a Future ends the scope, not the worker.
{
    serve(sub {
        my (undef, $receive) = @_;
        $receive->()->on_done(sub { die "dead in a callback\n" });
        return $loop->new_future;
    });
    my $id = begin(1, '/');
    event($id, 0x01, 0, '');
    my ($end) = taken(SCOPE_END);
    is $end->[2], "\x01dead in a callback", 'END with the exception';
}

# The kinds of END.
my %ends = (
    'returns'         => [sub { return Future->done },                                                   "\x00"],
    'dies'            => [sub { die "dead\n" },                                                          "\x01dead"],
    'fails'           => [sub { return Future->fail("failed\n") },                                       "\x01failed"],
    'sends too early' => [sub { return $_[2]->({ type => 'http.response.body', body => '' }) },           "\x03http.response.body: http.response.start must come first"],
    'looks away'      => [sub { $_[2]->({ type => 'http.response.body', body => '' }); return Future->done }, "\x03http.response.body: http.response.start must come first"],
);
for my $how (sort keys %ends) {
    my ($app, $want) = @{ $ends{$how} };
    serve($app);
    begin(1, '/');
    my ($end) = taken(SCOPE_END);
    is substr($end->[2], 0, length $want), $want, "an application that $how";
}

# DRAIN ends the worker when its last scope has ended.
{
    my $app;
    serve(sub { return $app = $loop->new_future });
    begin(1, '/');
    $mux->feed(frame(DRAIN, 0, 0, ''));
    $server->look;
    ok !$server->has_left, 'a scope is open';
    $app->done;
    ok $server->has_left, 'it has ended';
}

is "@warnings", '', 'no warning';
done_testing;
