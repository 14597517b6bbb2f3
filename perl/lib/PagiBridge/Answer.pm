package PagiBridge::Answer;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use IO::Handle ();
use Scalar::Util qw(blessed openhandle reftype);

use PagiBridge::Describe qw(describe message);
use PagiBridge::File;
use PagiBridge::Hint ();
use PagiBridge::Wire qw(:frames frame);
use PagiBridge::Writer;

=head1 NAME

PagiBridge::Answer - an application's answer on its way to the gateway

=head1 SYNOPSIS

    my $answer = PagiBridge::Answer->new($worker, $env);
    eval { $answer->give($app->($env)); 1 } or $answer->died($@);
    $answer->finish;

=head1 DESCRIPTION

Turns every kind of answer PSGI knows into frames: an array, a handle, an object with
C<getline>, a delayed response and a streaming one. The end of an answer is sent as soon as it
is known. So the client does not wait for what the application still does after it.

=cut

use constant STATUS => qr/\A[2-9][0-9][0-9]\z/;

# A status line without its protocol, as in "404 Not Found".
use constant STATUS_LINE => qr/\A([2-9][0-9][0-9])[ \t]/;

=head1 FUNCTIONS

=head2 simple($status, $headers, $body)

Packs a small and valid array as the payload of a RESPONSE frame. Returns undef for any other
answer.

=cut

sub simple {
    my ($status, $headers, $body) = @_;
    no warnings 'uninitialized';    # an undefined element is an empty one
    return if ref $body ne 'ARRAY' || ref $headers ne 'ARRAY' || @$headers % 2 || $status !~ STATUS;
    my $bytes = pack('n N (N/a*)*', $status, @$headers / 2, @$headers) . (@$body == 1 ? $body->[0] : join '', @$body);
    return if length $bytes > CHUNK || !utf8::downgrade($bytes, 1);
    return $bytes;
}

=head2 status_and_headers($response)

Returns the status and the list of headers of an array, or two undefined values and what is wrong with them: "returned the
status ...".

=cut

sub status_and_headers {
    my ($response) = @_;
    my ($status, $headers) = @$response;
    $status = $1 if defined $status && $status =~ STATUS_LINE;
    if (!defined $status || $status !~ STATUS) {
        $status = 'undef' if !defined $status;
        return (undef, undef, "returned the status '$status'; it must be a number from 200 to 999");
    }
    return ($status, $headers) if (reftype($headers) || '') eq 'ARRAY' && @$headers % 2 == 0;
    return (undef, undef, 'returned ' . describe($headers) . ' for headers; PSGI wants an array of names and values');
}

=head2 wrong($response), wrong_late($response), wrong_body($body), too_wide($where)

Say what is wrong with a value that is no response, with what a responder was given, with a value that is no body, and with
characters in the C<body> or the C<headers>.

=cut

sub too_wide { return "wide character in the response $_[0]: PSGI wants bytes; encode the text first (Encode::encode_utf8)" }

sub wrong {
    my ($response) = @_;
    return 'returned an array of ' . @$response . ' elements; PSGI wants [status, headers, body]' if (reftype($response) || '') eq 'ARRAY';
    return 'returned ' . describe($response) . '; PSGI wants [status, headers, body] or a code reference';
}

sub wrong_late { return 'gave the responder ' . describe($_[0]) . '; PSGI wants [status, headers, body] or [status, headers]' }

sub wrong_body {
    my ($body) = @_;
    return 'returned no body; PSGI wants an array or a handle' if !defined $body;
    return 'returned ' . describe($body) . ' for a body; PSGI wants an array or an object with getline';
}

=head2 handlers_of($env)

Returns the cleanup handlers of an environment. An application may have put its own list, or one handler, in the place of the
list it was given.

=cut

sub handlers_of {
    my ($env) = @_;
    my $handlers = $env->{'psgix.cleanup.handlers'};
    return (reftype($handlers) || '') eq 'ARRAY' ? @$handlers : defined $handlers ? $handlers : ();
}

=head1 METHODS

=head2 new($worker, $env)

Returns an answer to the request that the worker is serving. The code to call after the answer
is in the environment, in C<psgix.cleanup.handlers>.

=cut

sub new {
    my ($class, $worker, $env) = @_;
    return bless {
        worker  => $worker,
        stream  => $worker->{stream},
        env     => $env,
        running => 0,        # the code of a delayed response is being called
        started => 0,        # the responder must not be called any more
        writing => 0,        # there is a writer, and it was not closed
        body    => undef,    # to be closed
        ended   => 0,        # the frame with FIN has been made
        busy    => 0,        # it had BUSY
    }, $class;
}

=head2 give($response)

Sends the value that the application has returned.

=cut

sub give {
    my ($self, $response) = @_;
    my $kind = reftype($response) || '';
    if ($kind eq 'ARRAY') {
        return $self->send($response) if @$response >= 3;
        return $self->invalid(wrong($response));
    }
    if ($kind ne 'CODE') {
        return $self->invalid(wrong($response) . PagiBridge::Hint::value($response));
    }
    {
        local $self->{running} = 1;
        $response->(sub { $self->respond(@_) });
    }
    return $self->invalid('returned a code reference that did not call its responder' . PagiBridge::Hint::loop())
        if !$self->{started};
    return;
}

# respond is the responder of a delayed response. It returns the writer.
sub respond {
    my ($self, $late) = @_;
    die "the responder was called twice\n" if $self->{started};
    if ((reftype($late) || '') ne 'ARRAY' || @$late < 2) {
        return $self->invalid(wrong_late($late));
    }
    return $self->send($late) if defined $late->[2];
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
    return $self->invalid(wrong_body($body)) if !defined $body;
    my $worker = $self->{worker};
    if (my $file = ($worker->{paths} || $worker->{descriptors}) && !$self->has_more
        && PagiBridge::File::payload($body, $worker->{began}, $self->{running})) {
        $self->start($head, $body);
        return $self->end(FILE, $file) if $worker->{paths};
        return $self->attach($file, $body) || $self->send_rest($body);
    }
    if (ref $body eq 'GLOB' || ref \$body eq 'GLOB' || blessed($body) && $body->can('getline')) {
        return $self->send_handle($head, $body);
    }
    return $self->invalid(wrong_body($body));
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
    return $self->send_as_it_comes($body) if PagiBridge::File::is_stream($body);
    return $self->send_rest($body);
}

# attach ends the answer with a descriptor of the body's file. It returns false where that cannot be done.
sub attach {
    my ($self, $file, $body) = @_;
    my $flags = FIN | DESCRIPTOR | ($self->{running} ? BUSY : 0);
    my $frame = frame(FILE, $flags, $self->{stream}, substr($file, 0, 16) . pack 'Q> Q>', 0, 0);
    $self->{worker}->attach($frame, openhandle($body)) or return 0;
    $self->close_body;
    @$self{qw(ended writing busy)} = (1, 0, $self->{running});
    return 1;
}

# send_rest reads the body and sends it.
sub send_rest {
    my ($self, $body) = @_;
    local $/ = \(CHUNK);
    while (1) {
        $! = 0;
        my $piece = blessed $body ? $body->getline : readline $body;
        if (!defined $piece) {
            # A method or tie can tell of an error only by an exception.
            return $self->unreadable if $! && PagiBridge::File::has_failed($body);
            last;
        }
        utf8::downgrade($piece, 1) or return $self->wide('body');
        $self->write($piece);
        last if $self->{worker}->client_gone;
    }
    return $self->end(BODY, '');
}

# unreadable cuts the answer, because the body was not sent to its end.
sub unreadable {
    my ($self) = @_;
    return $self->abort(ABORT_CUT, "reading the body: $!");
}

# send_as_it_comes sends the bytes of a pipe or socket as they come, without waiting for a full
# piece.
sub send_as_it_comes {
    my ($self, $body) = @_;
    my $handle = openhandle($body);
    # The application may have read a part, and perl more than that. This takes what perl has.
    IO::Handle::blocking($handle, 0);
    $! = 0;
    my $n      = read $handle, my $piece, CHUNK;
    my $failed = $!;
    IO::Handle::clearerr($handle);
    IO::Handle::blocking($handle, 1);
    if (!defined $n && $failed && $failed != EAGAIN && $failed != EINTR) {
        $! = $failed;
        return $self->unreadable;
    }
    while (1) {
        $self->write($piece) if $n;
        $self->{worker}->flush;
        if (!$self->{worker}->wait_for($handle)) {
            end_program($handle);
            last;
        }
        $n = sysread $handle, $piece, CHUNK;
        last                     if defined $n && !$n;
        return $self->unreadable if !defined $n && $! != EINTR;
    }
    return $self->end(BODY, '');
}

# end_program ends the program behind a pipe after the client has gone. Closing the pipe would
# wait for the program. The program may write nothing more, and so never notice that the pipe
# is closed.
sub end_program {
    my ($handle) = @_;
    return if !-p $handle;
    my $pipe = 'pipe:[' . (stat _)[1] . ']';
    open my $in, '<', "/proc/$$/task/$$/children" or return;
    my $children = do { local $/; readline $in };
    for my $pid (split ' ', defined $children ? $children : '') {
        my $output = readlink "/proc/$pid/fd/1";
        kill TERM => $pid if defined $output && $output eq $pipe;
    }
    return;
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

Closes the body and sends the frame that ends the answer. While the application is still
running it sends the frame at once, with the flag BUSY.

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

# has_more reports whether the worker has work to do after the answer.
sub has_more {
    my ($self) = @_;
    return $self->handlers || $self->{env}{'psgix.harakiri.commit'};
}

sub handlers { return handlers_of($_[0]{env}) }

=head2 finish

To be called when the application has returned. Ends the answer unless it has ended, runs the
cleanup handlers and tells the gateway that the worker is free.

=cut

sub finish {
    my ($self) = @_;
    my ($worker, $env) = @$self{qw(worker env)};
    if ($self->{writing} && !$worker->{cancelled}) {
        $self->abort(ABORT_CUT, 'the application did not close its writer' . PagiBridge::Hint::loop());
    }
    $self->end(BODY, '') if !$self->{ended};
    return if !$self->{busy};
    $worker->flush;
    for (my $n = 0; $n < (my @handlers = $self->handlers); $n++) {    # a handler may add one
        my $ok = eval { $handlers[$n]->($env); 1 };
        $worker->log(LOG_ERROR, 'a cleanup handler died: ' . message($@)) if !$ok;
    }
    $worker->exiting('harakiri') if $env->{'psgix.harakiri.commit'};
    $worker->put(frame(IDLE, 0, $self->{stream}, ''));
    return;
}

# head packs status and headers, or reports why it cannot and returns undef.
sub head {
    my ($self, $response) = @_;
    my ($status, $headers, $problem) = status_and_headers($response);
    return $self->invalid($problem) if defined $problem;
    no warnings 'uninitialized';
    my $head = pack 'n N (N/a*)*', $status, @$headers / 2, @$headers;
    return $self->wide('headers') if !utf8::downgrade($head, 1);
    return $self->invalid('returned headers of ' . length($head) . ' bytes; at most ' . MAX_HEAD . ' are allowed')
        if length $head > MAX_HEAD;
    return $head;
}

=head2 died($error, $trace)

To be called when the application has thrown an exception.

=cut

sub died {
    my ($self, $error, $trace) = @_;
    return if ref $error eq 'PagiBridge::ClientGone';
    my $message = message($error);
    $message .= PagiBridge::Hint::error($message);
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
    $self->abort(ABORT_DIED, too_wide($where));
    return;
}

# abort gives the answer up. The gateway sends an error response, or cuts the connection where
# the response has begun. A complete response stays as it is.
sub abort {
    my ($self, $kind, $message) = @_;
    utf8::encode($message) if utf8::is_utf8($message);
    return $self->{worker}->log(LOG_ERROR, "after the end of the answer: $message") if $self->{ended};
    $self->{started} = 1;
    return $self->end(ABORT, pack 'C a*', $kind, substr $message, 0, MAX_MESSAGE);
}

1;
