#!/usr/bin/env perl

use strict;
use warnings;

=head1 NAME

mux_worker.pl - the worker of bridge/wire/CONFORMANCE.md in Perl

=head1 DESCRIPTION

Runs the application of that page on L<PagiBridge::Mux> and L<PagiBridge::Event>, with C<select>
for a loop. The tests of bridge/mux start it.

=cut

use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../../lib';

use Errno qw(EAGAIN EINTR);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use Socket qw(PF_UNIX SOCK_STREAM pack_sockaddr_un);

use PagiBridge::Event qw(scope_of event_of payload_of disconnect_of);
use PagiBridge::Mux ();
use PagiBridge::Wire qw(unpack_pairs);

binmode STDIN;
my @pairs = unpack_pairs(do { local $/; <STDIN> });
pop @pairs;
my %config = @pairs;

my $started = 0;
my $mux;
$mux = PagiBridge::Mux->new(token => $config{token}, on_scope => \&serve, on_ready => sub { $mux->ready });

socket my $socket, PF_UNIX, SOCK_STREAM, 0 or die "socket: $!\n";
connect $socket, pack_sockaddr_un($config{socket}) or die "connect: $!\n";
my $flags = fcntl $socket, F_GETFL, 0 or die "fcntl: $!\n";
fcntl $socket, F_SETFL, $flags | O_NONBLOCK or die "fcntl: $!\n";
$SIG{PIPE} = 'IGNORE';

while (!$mux->is_done) {
    my ($read, $write) = ('', '');
    vec($read,  fileno $socket, 1) = 1;
    vec($write, fileno $socket, 1) = 1 if ${ $mux->out } ne '';
    next if select($read, $write, undef, undef) < 0;
    if (vec $write, fileno $socket, 1) {
        my $n = syswrite $socket, ${ $mux->out }, 262144;
        exit 0 if !defined $n && $! != EAGAIN && $! != EINTR;
        $mux->written($n || 0);
    }
    if (vec $read, fileno $socket, 1) {
        my $n = sysread $socket, my $bytes, 65536;
        next if !defined $n && ($! == EAGAIN || $! == EINTR);
        exit 0 if !$n;
        $mux->feed($bytes);
    }
}
exit 0;

# serve runs the application for one scope: it gives each event to a handler, which returns true when
# it has finished.
sub serve {
    my ($stream) = @_;
    my $scope   = scope_of($stream->payload);
    my $handler = handler($scope);
    my $run     = sub {
        my ($event) = @_;
        my $done = eval { $handler->($event, sub { $stream->send(payload_of($_[0])) }) };
        my $error = $@;
        return $stream->end(0) if $done;
        return if $error eq '';
        return $stream->end($error =~ /must come first/ ? 3 : 1, $error);
    };
    $stream->on_event(sub {
        my ($payload, $cost) = @_;
        $stream->taken($cost);
        $run->(event_of($payload));
    });
    $stream->on_disconnect(sub { $run->(disconnect_of($scope->{type}, @_)) });
    return;
}

sub handler {
    my ($scope) = @_;
    my $type = $scope->{type};
    return \&lifespan  if $type eq 'lifespan';
    return \&count     if $type eq 'sse';
    return sub { websocket($scope, @_) } if $type eq 'websocket';
    my $begun = 0;
    return sub { my ($event, $send) = @_; http($scope, $event, $send, $begun++) };
}

sub lifespan {
    my ($event, $send) = @_;
    if ($event->{type} eq 'lifespan.startup') {
        $started++;
        $send->({ type => 'lifespan.startup.complete' });
        return 0;
    }
    $send->({ type => 'lifespan.shutdown.complete' });
    return 1;
}

sub count {
    my (undef, $send) = @_;
    $send->({ type => 'sse.start', headers => [['x-from', 'worker']] });
    $send->({ type => 'sse.send', event => 'count', id => 7, retry => 2000, data => "one\ntwo" });
    $send->({ type => 'sse.close' });
    return 1;
}

sub websocket {
    my ($scope, $event, $send) = @_;
    my $type = $event->{type};
    return 1 if $type eq 'websocket.disconnect';
    if ($type eq 'websocket.connect') {
        $send->({ type => 'websocket.accept', subprotocol => $scope->{subprotocols}[-1] });
    }
    elsif (defined $event->{text} && $event->{text} eq 'close') {
        $send->({ type => 'websocket.close', code => 4001, reason => 'as you wish' });
        return 1;
    }
    else {
        $send->({ %$event, type => 'websocket.send' });
    }
    return 0;
}

sub http {
    my ($scope, $event, $send, $begun) = @_;
    return 1 if $event->{type} eq 'http.disconnect';
    my $path   = $scope->{path};
    my $start  = sub { $send->({ type => 'http.response.start', status => 200, headers => [['content-type', 'text/plain']], @_ }) };
    my $answer = sub {
        $start->();
        $send->({ type => 'http.response.body', body => $_[0] });
        return 1;
    };
    if ($path eq '/echo') {
        $start->() if !$begun;
        $send->({ type => 'http.response.body', body => $event->{body}, more => $event->{more} });
        return !$event->{more};
    }
    if ($path eq '/stall') {
        $start->() if !$begun;
        return 0;
    }
    return $answer->('hello')             if $path eq '/hello';
    return $answer->($started)            if $path eq '/state';
    return $answer->(describe($scope))    if $path eq '/scope';
    return $answer->('x' x $1)            if $path =~ m{\A/stream/([0-9]+)\z};
    return 1                              if $path eq '/nothing';
    die "dead\n"                          if $path eq '/die';
    die "late\n"                          if $path eq '/late' && $answer->('done');
    die "http.response.body: http.response.start must come first\n" if $path eq '/invalid';
    if ($path eq '/trailers') {
        $start->(trailers => 1);
        $send->({ type => 'http.response.body', body => 'body' });
        $send->({ type => 'http.response.trailers', headers => [['x-sum', 4]] });
        return 1;
    }
    $start->(status => 404);
    $send->({ type => 'http.response.body', body => 'no such page' });
    return 1;
}

sub describe {
    my ($scope) = @_;
    my @address = map { defined $_ ? $_ : '' } map { $_ ? (@$_[ 0, 1 ]) : ('', '') } @$scope{qw(client server)};
    my @values  = map { defined $_ ? $_ : '' } @$scope{qw(http_version method scheme path raw_path target query_string root_path)};
    return join "\n", @values, @address, '', (map { "$_->[0]: $_->[1]" } @{ $scope->{headers} }), sort keys %{ $scope->{extensions} };
}
