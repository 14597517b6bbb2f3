package PagiBridge::PSGI::Mojo;

use strict;
use warnings;

use parent -norequire, 'PagiBridge::PSGI::Exchange';

use Scalar::Util qw(blessed reftype);

use PagiBridge::PSGI::Exchange ();
use PagiBridge::PSGI::Upgrade ();

=head1 NAME

PagiBridge::PSGI::Mojo - a request to an application of Mojolicious

=head1 SYNOPSIS

    my $mojo   = PagiBridge::PSGI::Mojo::application($app);    # undef for any other application
    my $server = PagiBridge::PSGI::Mojo::server($mojo, $app);

=head1 DESCRIPTION

The PSGI server of Mojolicious knows neither WebSockets nor answers that come later. So this drives the application as the server
of Mojolicious with an event loop does: it makes a transaction of the environment, gives it to the application, and sends what the
transaction has to write each time that the transaction says so.

=head1 FUNCTIONS

=head2 application($app)

Returns the object of Mojolicious: C<$app> itself, or what stands behind the code that C<< app->start >> returns under PSGI.

=cut

sub application {
    my ($app) = @_;
    return $app if blessed $app && $app->isa('Mojolicious');
    return if !$INC{'Mojo/Server/PSGI.pm'} || (reftype($app) || '') ne 'CODE';
    # The code of Mojo::Server::PSGI has closed over its server.
    require B;
    my $pad = B::svref_2object($app)->PADLIST;
    return if !$pad->can('ARRAYelt');
    my $values = $pad->ARRAYelt(1);
    for my $value ($values ? $values->ARRAY : ()) {
        next if !$value->can('object_2svref');
        my $found = $value->object_2svref;
        next if !$found || reftype($found) ne 'REF' && reftype($found) ne 'SCALAR';
        return $$found->app if blessed $$found && ref $$found eq 'Mojo::Server::PSGI';
    }
    return;
}

=head2 server($mojo, $app)

Returns the L<Mojo::Server> that passes transactions to the application. An application that knows no server yet learns of it.

=cut

sub server {
    my ($mojo, $app) = @_;
    require Mojo::Server;
    require Mojo::IOLoop;
    require Mojo::Transaction::WebSocket;
    require Mojo::WebSocket;
    my $server = Mojo::Server->new(app => $mojo);
    $mojo->server($server) if blessed $app && $app == $mojo;
    return $server;
}

=head1 METHODS

=head2 call($env)

=cut

sub call {
    my ($self, $env) = @_;
    my $server = $self->{server}{mojo};
    my $tx = $server->build_tx;
    my $req = $tx->req->parse($env);
    $tx->local_address($env->{SERVER_NAME})->local_port($env->{SERVER_PORT});
    $tx->remote_address($env->{REMOTE_ADDR})->remote_port($env->{REMOTE_PORT});
    until ($req->is_finished) {
        last if !read $env->{'psgi.input'}, my $piece, 131072;
        $req->parse($piece);
    }
    $self->{tx} = $tx;
    if ($self->{scope}{type} eq 'websocket') { $self->handshake($tx) }
    else {
        $server->emit(request => $tx);
        $tx->on(resume => sub { $self->write_http });
        $self->write_http;
    }
    $self->watch_client if !$self->{over};
    return;
}

# handshake has the application say whether it takes a WebSocket.
sub handshake {
    my ($self, $tx) = @_;
    my $ws = $self->{ws} = Mojo::Transaction::WebSocket->new(handshake => $tx);
    $self->{server}{mojo}->emit(request => Mojo::WebSocket::server_handshake($ws));
    $tx->on(resume => sub { $self->write_http });
    $self->write_http;
    return;
}

# watch_client takes what comes from the client behind the request: messages, and its end.
sub watch_client {
    my ($self) = @_;
    while (!$self->{over}) {
        my $future = $self->{receive}->();
        if (!$future->is_ready) {
            $future->on_ready(sub { $self->came($_[0]->get) and $self->watch_client });
            return;
        }
        return if !$self->came($future->get);
    }
    return;
}

# came reports whether more may come.
sub came {
    my ($self, $event) = @_;
    return 0 if $self->{over};
    my $ws = $self->{upgrade} ? $self->{ws} : undef;
    if ($event->{type} eq 'websocket.receive') {
        $ws->server_read($self->{upgrade}->to_app($event)) if $ws;
        return 1;
    }
    # The application learns the code by a close frame. Without one it is 1006.
    if ($ws && !$ws->{closing} && (my $bytes = $self->{upgrade}->to_app($event)) ne '') {
        $self->{mute} = 1;
        $ws->server_read($bytes);
    }
    return $self->leave;
}

# write_http sends what the transaction has to write, as far as the client takes it.
sub write_http {
    my ($self) = @_;
    my $tx = $self->{tx};
    return if $self->{over} || $self->{writing} || $self->{waits} || !$tx;
    local $self->{writing} = 1;
    # The code of the application may give it more to write meanwhile.
    my $bytes = $tx->server_write;
    if ($tx->is_finished) {
        return $self->accept if $self->{ws} && $tx->res->code == 101;
        return $self->rest($bytes, 1);
    }
    return if $self->{ws} && $tx->res->code && $tx->res->code == 101;
    return $self->rest($bytes, 0) if length $bytes;
    return;
}

# rest sends bytes of the transaction: the head, and then the body.
sub rest {
    my ($self, $bytes, $is_last) = @_;
    my $type = $self->{ws} ? 'websocket.http.response' : 'http.response';
    if (!$self->{started}) {
        my $res = $self->{tx}->res;
        $bytes =~ s/\A.*?\r\n\r\n//s or return $self->fail('Mojolicious has written no head of a response');
        $self->{started} = 1;
        $self->emit({ type => "$type.start", status => $res->code, headers => headers_of($res) });
        return if $self->{over};
    }
    if (length $bytes || $is_last) {
        my $sent = $self->emit({ type => "$type.body", body => $bytes, more => $is_last ? 0 : 1 });
        return if $self->{over};
        return $self->after($sent, sub { $self->finish }) if $is_last;
        if (!$sent->is_ready) {
            $self->{waits} = 1;
            return $self->after($sent, sub { delete $self->{waits}; $self->write_http });
        }
    }
    $self->{server}{loop}->later(sub { $self->write_http });
    return;
}

# headers_of returns the headers of a response, but for those of the connection.
sub headers_of {
    my ($res) = @_;
    my $hash = $res->headers->to_hash(1);
    my @pairs;
    for my $name (sort keys %$hash) {
        next if $name =~ /\A(?:connection|upgrade|sec-websocket-accept)\z/i;
        push @pairs, map { [lc $name, $_] } @{ $hash->{$name} };
    }
    return \@pairs;
}

# accept takes the WebSocket.
sub accept {
    my ($self) = @_;
    my $ws = $self->{ws};
    my $headers = $self->{tx}->res->headers;
    my %event = (
        type    => 'websocket.accept',
        headers => [grep { $_->[0] !~ /\A(?:content-length|date|server|sec-websocket-.*)\z/ } @{ headers_of($self->{tx}->res) }],
    );
    my $protocol = $headers->sec_websocket_protocol;
    $event{subprotocol} = $protocol if defined $protocol;
    $self->emit(\%event);
    return if $self->{over};
    $self->{tx}->closed;
    $self->{upgrade} = PagiBridge::PSGI::Upgrade->accepted;
    $ws->established(1);
    $ws->on(resume => sub { $self->write_ws });
    return $self->{server}{loop}->later(sub { $self->write_ws });
}

# write_ws sends the frames that the application has written. Without any it tells the application that all was sent.
sub write_ws {
    my ($self) = @_;
    my $ws = $self->{ws};
    return if $self->{over} || $self->{writing} || $self->{waits} || !$ws;
    my ($bytes, $sent);
    {
        local $self->{writing} = 1;
        $bytes = $ws->server_write;
    }
    $bytes = '' if !defined $bytes;
    return if $self->{mute};
    if ($bytes ne '') {
        my @events = eval { $self->{upgrade}->from_app($bytes) };
        return $self->fail($@) if $@ ne '';
        for my $event (@events) {
            next if defined $event->{reply};    # a pong for the application, which Mojolicious does not look at
            $sent = $self->emit($event);
            return if $self->{over};
        }
    }
    return $self->finish if $ws->is_finished && !($sent && !$sent->is_ready);
    return if $bytes eq '';
    $self->{waits} = 1;
    my $next = sub { delete $self->{waits}; $self->write_ws };
    return $self->{server}{loop}->later(sub { $self->{over} or $next->() }) if !$sent || $sent->is_ready;
    return $self->after($sent, $next);
}

# close tells the application that the transaction has ended.
sub close {
    my ($self) = @_;
    my ($tx, $ws) = delete @$self{qw(tx ws)};
    return if !$tx;
    $_->unsubscribe('resume') for grep { defined } $tx, $ws;
    my $done = eval {
        $tx->closed if !$self->{upgrade};
        if ($ws && $self->{upgrade}) { $ws->closed }
        1;
    };
    $self->{server}{mojo}->app->log->error("finish: $@") if !$done;
    return;
}

1;
