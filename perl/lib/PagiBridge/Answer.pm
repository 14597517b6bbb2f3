package PagiBridge::Answer;

use strict;
use warnings;

use Scalar::Util qw(blessed openhandle reftype);

use PagiBridge::Describe qw(describe message);
use PagiBridge::File;
use PagiBridge::Wire qw(:frames frame);
use PagiBridge::Writer;

=head1 NAME

PagiBridge::Answer - an application's answer on its way to the gateway

=head1 SYNOPSIS

    my $answer = PagiBridge::Answer->new($worker, $env, \@cleanup);
    eval { $answer->give($app->($env)); 1 } or $answer->died($@);
    $answer->finish;

=head1 DESCRIPTION

Turns every kind of answer PSGI knows into frames: an array, a handle, an object with
C<getline>, a delayed response and a streaming one. The end of an answer is sent as
soon as it is known; what the application still does after it is nothing the client
waits for.

=cut

use constant STATUS => qr/\A[2-9][0-9][0-9]\z/;

=head1 FUNCTIONS

=head2 simple($status, $headers, $body)

Packs a small array that has nothing wrong with it as the payload of a RESPONSE frame;
returns undef for any other answer.

=cut

sub simple {
    my ($status, $headers, $body) = @_;
    no warnings 'uninitialized';    # an undefined element is an empty one
    return if ref $body ne 'ARRAY' || ref $headers ne 'ARRAY' || @$headers % 2 || $status !~ STATUS;
    my $bytes = pack('n N (N/a*)*', $status, @$headers / 2, @$headers) . (@$body == 1 ? $body->[0] : join '', @$body);
    return if length $bytes > CHUNK || !utf8::downgrade($bytes, 1);
    return $bytes;
}

=head1 METHODS

=head2 new($worker, $env, $cleanup)

An answer to the request the worker is serving, and what is to be called after it.

=cut

sub new {
    my ($class, $worker, $env, $cleanup) = @_;
    return bless {
        worker  => $worker,
        stream  => $worker->{stream},
        env     => $env,
        cleanup => $cleanup,
        running => 0,        # the code of a delayed response is being called
        started => 0,        # the responder must not be called any more
        writing => 0,        # there is a writer, and it was not closed
        body    => undef,    # to be closed
        ended   => 0,        # the frame with FIN has been made
        busy    => 0,        # it had BUSY
    }, $class;
}

=head2 give($response)

Sends whatever the application returned.

=cut

sub give {
    my ($self, $response) = @_;
    my $kind = reftype($response) || '';
    if ($kind eq 'ARRAY') {
        return $self->send($response) if @$response == 3;
        return $self->invalid('returned an array of ' . @$response . ' elements; PSGI wants [status, headers, body]');
    }
    if ($kind ne 'CODE') {
        return $self->invalid('returned ' . describe($response) . '; PSGI wants [status, headers, body] or a code reference');
    }
    {
        local $self->{running} = 1;
        $response->(sub { $self->respond(@_) });
    }
    return $self->invalid('returned a code reference that did not call its responder') if !$self->{started};
    return;
}

# respond is what a delayed response calls; it returns the writer.
sub respond {
    my ($self, $late) = @_;
    die "the responder was called twice\n" if $self->{started};
    if ((reftype($late) || '') ne 'ARRAY' || @$late < 2 || @$late > 3) {
        return $self->invalid('gave the responder ' . describe($late) . '; PSGI wants [status, headers, body] or [status, headers]');
    }
    return $self->send($late) if @$late == 3 && defined $late->[2];
    my $head = $self->head($late);
    return if !defined $head;
    $self->start($head);
    $self->{writing} = 1;
    $self->{worker}->flush;
    return PagiBridge::Writer->new($self);
}

# send sends [status, headers, body].
sub send {
    my ($self, $response) = @_;
    my $head = $self->head($response);
    return if !defined $head;
    my $body = $response->[2];
    return $self->send_array($head, $body) if ref $body eq 'ARRAY';
    return $self->invalid('returned no body; PSGI wants an array or a handle') if !defined $body;
    if (my $file = !$self->has_more && PagiBridge::File::payload($body, $self->{running})) {
        $self->start($head, $body);
        return $self->end(FILE, $file);
    }
    if (ref $body eq 'GLOB' || ref \$body eq 'GLOB' || blessed($body) && $body->can('getline')) {
        return $self->send_handle($head, $body);
    }
    return $self->invalid('returned ' . describe($body) . ' for a body; PSGI wants an array or an object with getline');
}

sub send_array {
    my ($self, $head, $body) = @_;
    no warnings 'uninitialized';    # an undefined element is an empty one
    my $bytes = @$body == 1 ? "$body->[0]" : join '', @$body;
    utf8::downgrade($bytes, 1) or return $self->wide('body');
    if (length $bytes <= CHUNK) {
        $self->{started} = 1;
        return $self->end(RESPONSE, $head . $bytes);
    }
    $self->start($head);
    $self->write($bytes);
    return $self->end(BODY, '');
}

sub send_handle {
    my ($self, $head, $body) = @_;
    $self->start($head, $body);
    local $/ = \(CHUNK);
    while (defined(my $piece = blessed $body ? $body->getline : readline $body)) {
        utf8::downgrade($piece, 1) or return $self->wide('body');
        $self->write($piece);
        last if $self->{worker}->client_gone;
    }
    return $self->end(BODY, '');
}

# start sends the head; the rest follows.
sub start {
    my ($self, $head, $body) = @_;
    @$self{qw(started body)} = (1, $body);
    return $self->{worker}->put(frame(RESPONSE, 0, $self->{stream}, $head));
}

=head2 write($bytes)

Sends a piece of the body, at once.

=cut

sub write {
    my ($self, $bytes) = @_;
    for (my $offset = 0; $offset < length $bytes; $offset += CHUNK) {
        $self->{worker}->write_now(frame(BODY, 0, $self->{stream}, substr $bytes, $offset, CHUNK));
    }
    return;
}

=head2 end($type, $payload)

Closes the body and sends the frame that ends the answer: at once when the
application is still running, which the gateway is told by BUSY.

=cut

sub end {
    my ($self, $type, $payload) = @_;
    $self->close_body;
    @$self{qw(ended writing busy)} = (1, 0, $self->{running} || $self->has_more);
    $self->{worker}->put(frame($type, FIN | ($self->{busy} ? BUSY : 0), $self->{stream}, $payload));
    $self->{worker}->flush if $self->{running};
    return;
}

sub close_body {
    my ($self) = @_;
    my $body = delete $self->{body};
    return if !defined $body;
    local $@;
    my $ok = eval {
        if    (blessed $body && $body->can('close')) { $body->close }
        elsif (openhandle($body))                    { close $body }
        1;
    };
    $self->{worker}->log(LOG_ERROR, 'the body\'s close method died: ' . message($@)) if !$ok;
    return;
}

# has_more reports whether something is to be done after the answer.
sub has_more {
    my ($self) = @_;
    return @{ $self->{cleanup} } || $self->{env}{'psgix.harakiri.commit'};
}

=head2 finish

To be called when the application has returned: ends the answer if that has not been
done, runs what was left for afterwards and tells the gateway that the worker is free.

=cut

sub finish {
    my ($self) = @_;
    my ($worker, $env) = @$self{qw(worker env)};
    if ($self->{writing} && !$worker->{cancelled}) {
        $self->abort(ABORT_CUT, 'the application did not close its writer');
    }
    $self->end(BODY, '') if !$self->{ended};
    return if !$self->{busy};
    $worker->flush;
    for my $handler (@{ $self->{cleanup} }) {
        my $ok = eval { $handler->($env); 1 };
        $worker->log(LOG_ERROR, 'a cleanup handler died: ' . message($@)) if !$ok;
    }
    $worker->exiting('harakiri') if $env->{'psgix.harakiri.commit'};
    $worker->put(frame(IDLE, 0, $self->{stream}, ''));
    return;
}

# head packs status and headers, or reports why it cannot and returns undef.
sub head {
    my ($self, $response) = @_;
    my ($status, $headers) = @$response;
    if (!defined $status || $status !~ STATUS) {
        $status = 'undef' if !defined $status;
        return $self->invalid("returned the status '$status'; it must be a number from 200 to 999");
    }
    if ((reftype($headers) || '') ne 'ARRAY' || @$headers % 2) {
        return $self->invalid('returned ' . describe($headers) . ' for headers; PSGI wants an array of names and values');
    }
    no warnings 'uninitialized';
    my $head = pack 'n N (N/a*)*', $status, @$headers / 2, @$headers;
    return $self->wide('headers') if !utf8::downgrade($head, 1);
    return $head;
}

=head2 died($error, $trace)

To be called when the application has thrown an exception.

=cut

sub died {
    my ($self, $error, $trace) = @_;
    return if ref $error eq 'PagiBridge::ClientGone';
    my $message = message($error);
    $message .= "\n$trace" if defined $trace;
    return $self->abort(ABORT_DIED, $message);
}

sub invalid {
    my ($self, $what) = @_;
    $self->abort(ABORT_INVALID, "the application $what");
    return;
}

sub wide {
    my ($self, $where) = @_;
    $self->abort(ABORT_DIED,
        "wide character in the response $where: PSGI wants bytes; encode the text first (Encode::encode_utf8)");
    return;
}

# abort gives the answer up. The gateway makes an error response of it, or cuts the
# connection where the response has begun; one that is complete stays as it is.
sub abort {
    my ($self, $kind, $message) = @_;
    utf8::encode($message) if utf8::is_utf8($message);
    return $self->{worker}->log(LOG_ERROR, "after the end of the answer: $message") if $self->{ended};
    $self->{started} = 1;
    return $self->end(ABORT, pack 'C a*', $kind, substr $message, 0, CHUNK);
}

1;
