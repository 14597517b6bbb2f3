package PagiBridge::PAGI::Call;

use strict;
use warnings;

use Scalar::Util qw(blessed);

use PagiBridge::Event qw(event_of payload_of start_payload disconnect_of);
use PagiBridge::PAGI::Quick qw(quick_start quick_body quick_message);
use PagiBridge::PAGI::Rules ();
use PagiBridge::PAGI::Sent ();

=head1 NAME

PagiBridge::PAGI::Call - one call of a PAGI application: its receive, its send, its end

=head1 SYNOPSIS

    my $call = PagiBridge::PAGI::Call->new($server, $stream, $scope);
    $call->run($app);

=head1 DESCRIPTION

Between a stream (L<PagiBridge::Mux>), whose callbacks it sets, and an application, which works with
Futures. Who waits for whom:

=over

=item *

A Future of C<receive> waits for an event. The gateway gets credit for an event when the application
receives the next one, so a client that is faster than the application has to wait.

=item *

A Future of C<send> waits where the client does not take what was sent: once the window is used up, it waits until the
amount falls below the low mark of C<pagi.transport>. That of a file, and that of C<http.fullflush>, wait until the client's connection has taken all.

=item *

At the disconnect both kinds get their results: the disconnect event, and nothing.

=back

=head1 METHODS

=head2 new($server, $stream, $scope, $link)

C<$server> is the L<PagiBridge::PAGI>, C<$link> the L<PagiBridge::PAGI::Link> of the stream.

=cut

use constant {
    PIECE   => PagiBridge::PAGI::Quick::PIECE(),
    DIED    => 1,
    INVALID => 3,
};

my $sent;    # the Future of what was sent at once

sub new {
    my ($class, $server, $stream, $scope, $link) = @_;
    $sent ||= PagiBridge::PAGI::Sent::at_once($server->{loop});
    # Without keys for what most calls do not have, an idle one takes less memory: connection, cost, queue, waiting, sends, pushed.
    return bless {
        server => $server, link => $link, stream => $stream, scope => $scope,
        type => $scope->{type}, stage => PagiBridge::PAGI::Rules::BEGIN_STAGE,
    }, $class;
}

=head2 take_as_http

Has the application get a scope of Server-Sent Events as one of http, as specification 0.1 wants it for methods other than GET.

=cut

sub take_as_http {
    my ($self) = @_;
    $self->{as_http} = 1;
    $self->{type} = $self->{scope}{type} = 'http';
    return;
}

=head2 run($app)

Calls the application. The stream ends when its Future is ready.

=cut

my %is_future;    # by the class of what applications return

sub run {
    my ($self, $app) = @_;
    $self->{stream}->handle_by($self);
    # An idle call holds these codes, and each of them a place for every variable that it declares.
    my $future = eval { $app->($self->{scope}, sub { $self->receive }, sub { $self->send($_[0]) }) };
    if (!defined $future && $@ ne '') {
        return $self->failed($@);
    }
    if (!($is_future{ ref $future } ||= blessed $future && $future->can('on_ready'))) {
        my $what = PagiBridge::PAGI::returned($future);
        return $self->failed("the application returned $what, where a Future is wanted" . PagiBridge::PAGI::hint($future)) if $what =~ /ARRAY/;
        return $self->returned;    # a sub that is not async, and has done all that it wanted
    }
    return $self->returned         if $future->is_done;
    return $self->settle($future) if $future->is_ready;
    $self->{future} = $future;
    $future->on_ready(sub { $self->settle($future) });
    return;
}

sub settle {
    my ($self, $future) = @_;
    delete $self->{future};
    return $self->returned if $future->is_done;
    return $self->failed('the application has cancelled its own Future') if $future->is_cancelled && !$self->{gone};
    my $error = $future->is_cancelled ? undef : $future->failure;
    return defined $error ? $self->failed($error) : $self->returned;
}

# returned is called when the application has finished.
sub returned {
    my ($self) = @_;
    return if $self->{over};
    # An error of send that the application has not looked at is why its answer is incomplete.
    return $self->end(INVALID, $self->{invalid}) if defined $self->{invalid} && !$self->is_complete && !$self->{gone};
    # The callbacks of pagi.connection want to know how the request ends.
    my $conn = $self->{connection};
    if ($conn && ($conn->{calls} || $conn->{future}) && !$self->{gone} && $self->is_complete) {
        $self->{over} = 1;
        return;
    }
    return $self->end(0);
}

# is_complete reports whether the application has sent all of an http response, as far as one knows.
sub is_complete { return $_[0]{stage} eq 'complete' || $_[0]{type} ne 'http' }

# failed is called with the application's exception.
sub failed {
    my ($self, $error) = @_;
    return if $self->{over};
    my $text = PagiBridge::PAGI::text_of($error);
    my $kind = defined $self->{invalid} && index($text, $self->{invalid}) >= 0 ? INVALID : DIED;
    return $self->end($kind, $text);
}

sub end {
    my ($self, $kind, $message) = @_;
    $self->{over} = 1;
    $self->{stream}->end($kind, $message);
    if (my $conn = $self->{connection}) {
        if   ($kind == 0 && $self->is_complete) { $conn->complete }
        else {
            $conn->{started} = 1 if !$self->{gone};    # by the response of the gateway
            $conn->disconnect('server_error');
        }
    }
    $self->{gone} ||= 'end';
    $self->release if $self->{sends} || $self->{waiting};
    $self->{server}->ended($self);
    return;
}

# release gives all Futures that wait their results.
sub release {
    my ($self) = @_;
    $self->ready($_->[1]) for @{ delete $self->{sends} || [] };
    for my $future (@{ delete $self->{waiting} || [] }) {
        $self->ready($future, $self->{end} || { type => $self->disconnect_type });
    }
    return;
}

sub disconnect_type { return $_[0]{type} eq 'lifespan' ? 'lifespan.shutdown' : "$_[0]{type}.disconnect" }

# ready gives a Future its result. What waits for it runs at once.
sub ready {
    my ($self, $future, @result) = @_;
    return if $future->is_ready;
    return if eval { $future->done(@result); 1 };
    $self->failed($@);    # of a callback: exceptions of an async sub are in its Future
    return;
}

# receive is the application's receive.
sub receive {
    my ($self) = @_;
    if ($self->{cost}) {    # the application is done with the events before
        $self->{stream}->taken($self->{cost});
        $self->{cost} = 0;
        $self->{link}->touch if !$self->{link}{asked};
    }
    if (my $queue = $self->{queue}) {
        my $next = shift @$queue;
        delete $self->{queue} if !@$queue;
        return Future->done($self->take(@$next));
    }
    return Future->done({ %{ $self->{end} } }) if $self->{end};
    return Future->done({ type => $self->disconnect_type }) if $self->{gone};
    my $future = $self->{server}{loop}->new_future;
    push @{ $self->{waiting} }, $future;
    return $future;
}

sub take {
    my ($self, $payload, $cost) = @_;
    $self->{cost} += $cost;
    my $event = event_of($payload);
    $event->{type} = 'http.request' if $self->{as_http};
    return $event;
}

# event is called when an event has come.
sub event {
    my ($self, $payload, $cost) = @_;
    # In specification 0.1 the first receive of an event stream waits.
    if ($self->{server}{is_seed} && $self->{type} eq 'sse') {
        $self->{stream}->taken($cost);
        return;
    }
    while ($self->{waiting} and my $future = shift @{ $self->{waiting} }) {
        next if $future->is_ready;    # the application has cancelled it
        return $self->ready($future, $self->take($payload, $cost));
    }
    push @{ $self->{queue} }, [$payload, $cost];
    return;
}

# disconnect is called when the client has gone, or its answer is complete.
sub disconnect {
    my ($self, $code, $reason) = @_;
    my $is_complete = $self->{type} eq 'http' && $reason eq '';
    $self->{gone} = $is_complete ? 'complete' : 'disconnect';
    if (my $conn = $self->{connection}) {
        if   ($is_complete) { $conn->complete }
        else                { $conn->disconnect($reason) }
    }
    $self->{end} = $self->{as_http} ? { type => 'http.disconnect' } : disconnect_of($self->{type}, $code, $reason);
    $self->release;
    return $self->end(0) if $self->{over};
    $self->{server}->disconnected($self) if !$is_complete;
    return;
}

# give_up ends an application that goes on although its client has left.
sub give_up {
    my ($self) = @_;
    my $future = $self->{future} or return;
    return $self->failed($@) if !eval { $future->cancel; 1 };
    return $self->end(0) if !$self->{stream}->has_ended;    # it did not notice
    return;
}

# credit is called when the gateway has granted credit.
sub credit {
    my ($self) = @_;
    my $sends = $self->{sends};
    while ($sends && @$sends) {    # the application may send more meanwhile
        my ($mark, $future, $wants_all) = @{ $sends->[0] };
        last if $mark > ($self->{pushed} || 0) - $self->{stream}->waiting || $self->{stream}->buffered > ($wants_all ? 0 : $self->{link}{low});
        shift @$sends;
        delete $self->{sends} if !@$sends;
        $self->ready($future);
        $sends = $self->{sends};
    }
    $self->{stream}{watcher}->look if $self->{stream}{watcher};
    return;
}

# send is the application's send.
sub send {
    my ($self, $event) = @_;
    return $self->send_any($event) if ref $event ne 'HASH' || $self->{gone} || $self->{as_http};
    # What most events are.
    my ($type, $stage) = @$self{qw(type stage)};
    if ($stage eq 'open') {
        my $payload = $type eq 'http' ? quick_body($event) : $type eq 'websocket' ? quick_message($event) : undef;
        return $self->send_any($event) if !defined $payload;
        $self->{stage} = 'complete' if $type eq 'http' && !$event->{more};
        return $self->put($payload);
    }
    my $payload = $type eq 'http' && $stage eq 'begin' ? quick_start($event) : undef;
    return $self->send_any($event) if !defined $payload;
    $self->{stage} = 'open';
    $self->{connection}{started} = 1 if $self->{connection};
    return $self->put($payload);
}

# send_any checks and sends an event of any kind.
sub send_any {
    my ($self, $event) = @_;
    return $sent if $self->{gone} && $self->{gone} ne 'complete';
    my $pump = $self->{pump};
    return $pump->without_cancel->then(sub { $self->send($event) }) if $pump && !$pump->is_ready;
    my ($next, $problem, $is_late) = eval { PagiBridge::PAGI::Rules::check($self->{type}, $self->{stage}, $event) };
    return $self->refuse($@) if !defined $next;
    if (defined $problem) {
        return $self->refuse("$problem\n") if !$is_late || $self->{server}{strict};
        $self->{server}->drop($problem, $self);
        return Future->done;
    }
    return Future->done if $self->{gone};    # complete
    my $type = $event->{type};
    # A denial after the handshake is to be ignored.
    return Future->done if $self->{stage} eq 'open' && $type =~ /\Awebsocket\.http\./;
    if ($type eq 'http.response.body' && (defined $event->{file} || defined $event->{fh})) {
        return $self->send_file($event, $next);
    }
    return $self->refuse("http.fullflush: the scope does not offer the extension 'fullflush'\n")
        if $type eq 'http.fullflush' && !$self->{scope}{extensions}{fullflush};
    if ($type eq 'websocket.accept' && defined(my $protocol = $event->{subprotocol})) {
        return $self->refuse("websocket.accept: 'subprotocol' was not offered by the client\n")
            if $protocol ne '' && !grep { $_ eq $protocol } @{ $self->{scope}{subprotocols} };
    }
    if ($self->{as_http}) {
        return Future->done if $type !~ /\Ahttp\.response\.(?:start|body)\z/;    # an event stream has no trailers
        $event = { %$event, type => "sse.$type" };
    }
    my $length = defined $event->{body} ? length $event->{body} : 0;
    my $rest;
    if ($length > PIECE) {
        my $body = $event->{body};
        return $self->refuse("$type: wide character in 'body', which must be bytes\n") if !utf8::downgrade($body, 1);
        $rest  = $body;
        $event = { %$event, body => substr($rest, 0, PIECE, ''), more => 1, last => !$event->{more} };
    }
    my $payload = eval { $event->{type} eq 'http.response.start' ? start_payload($event) : payload_of($event) };
    return $self->refuse($@) if !defined $payload;
    my $future = eval { $self->put($payload) };
    return $self->refuse("$type: $@") if !$future;
    while (defined $rest && $rest ne '') {
        my $piece = substr $rest, 0, PIECE, '';
        $future = $self->put(payload_of({ %$event, body => $piece, more => $rest ne '' || !$event->{last} }));
    }
    $self->{stage} = $next;
    $self->{connection}{started} = 1 if $type eq 'http.response.start' && $self->{connection};
    return $type eq 'http.fullflush' ? $self->flushed : $future;
}

# put sends a payload, and returns the Future of that.
sub put {
    my ($self, $payload) = @_;
    my $stream = $self->{stream};
    my $is_out = $stream->send($payload);
    $self->{link}->touch if !$self->{link}{asked};
    return $sent if $is_out && !$self->{sends} && !$stream->{watcher};
    $self->{pushed}++ if !$is_out;    # it waits with those that were counted before
    $stream->{watcher}->look if $stream->{watcher};
    return $is_out && !$self->{sends} ? $sent : $self->later(0);
}

# flushed returns a Future that waits until the client's connection has taken all.
sub flushed {
    my ($self) = @_;
    return $sent if !$self->{sends} && !$self->{stream}->buffered;
    return $self->later(1);
}

sub later {
    my ($self, $wants_all) = @_;
    my $future = $self->{server}{loop}->new_future;
    push @{ $self->{sends} }, [$self->{pushed} || 0, $future, $wants_all];
    return $future;
}

# refuse returns the failed Future of an event that must not be sent. The message names the line of
# the application that has sent it.
sub refuse {
    my ($self, $message) = @_;
    $message =~ s/\s+\z//;
    my ($file, $line) = PagiBridge::PAGI::place();
    $message .= " at $file line $line" if defined $file;
    $self->{invalid} = $message if !defined $self->{invalid};
    return Future->fail("$message.\n");
}

# send_file answers with a file or a handle.
sub send_file {
    my ($self, $event, $next) = @_;
    require PagiBridge::PAGI::Body;
    my $source = eval { PagiBridge::PAGI::Body->new($event, $self->{link}{paths} && !$self->{as_http}) };
    return $self->refuse("$event->{type}: $@") if !$source;
    $self->{stage} = $next;
    if (my $payload = $source->payload) {
        $self->put($payload);
        return $self->flushed;
    }
    my $pump = $self->{server}{loop}->new_future;
    $self->{pump} = $pump;
    $self->pump($source);
    return $pump->without_cancel;
}

# pump sends what is left of a source, as fast as the client takes it.
sub pump {
    my ($self, $source) = @_;
    my $type = $self->{as_http} ? 'sse.http.response.body' : 'http.response.body';
    my $loop = $self->{server}{loop};
    for my $turn (1 .. 16) {
        return $self->ready($self->{pump}) if $self->{gone};
        my $piece = $source->is_slow ? undef : eval { $source->next(PIECE) };
        if (!defined $piece) {
            return $self->pump_failed($@) if !$source->is_slow;
            return $source->wait($loop, sub { $self->pump_more($source) });
        }
        my $is_last = $source->is_done;
        my $future = $self->put(payload_of({ type => $type, body => $piece, more => !$is_last }));
        if ($is_last) {
            $self->flushed->on_ready(sub { $self->ready($self->{pump}) });
            return;
        }
        next if $future->is_ready;
        $future->on_ready(sub { $loop->later(sub { $self->pump($source) }) });
        return;
    }
    $loop->later(sub { $self->pump($source) });    # others have a turn
    return;
}

# pump_more goes on with a source that could not be read a moment ago.
sub pump_more {
    my ($self, $source) = @_;
    return $self->ready($self->{pump}) if $self->{gone};
    my $piece = eval { $source->next(PIECE) };
    return $self->pump_failed($@) if !defined $piece;
    my $is_last = $source->is_done;
    my $future = $self->put(payload_of({ type => $self->{as_http} ? 'sse.http.response.body' : 'http.response.body', body => $piece, more => !$is_last }));
    $future = $self->flushed if $is_last;
    $future->on_ready(sub { $is_last ? $self->ready($self->{pump}) : $self->pump($source) });
    return;
}

sub pump_failed {
    my ($self, $error) = @_;
    my $pump = $self->{pump};
    return if $pump->is_ready;
    return if eval { $pump->fail("http.response.body: $error"); 1 };
    $self->failed($@);
    return;
}

1;
