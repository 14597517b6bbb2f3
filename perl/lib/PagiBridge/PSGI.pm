package PagiBridge::PSGI;

use strict;
use warnings;

use Fcntl ();
use IO::Handle ();
use Scalar::Util qw(blessed openhandle reftype);

use PagiBridge::Errors;
use PagiBridge::Writer;
use PagiBridge::Wire qw(:frames frame);

=head1 NAME

PagiBridge::PSGI - runs a PSGI 1.1 application for a worker

=head1 SYNOPSIS

    my $handler = PagiBridge::PSGI->new(
        app          => PagiBridge::Loader::load_file('/srv/app.psgi'),
        multiprocess => 1,
    );
    $worker->run($handler);

=head1 DESCRIPTION

Turns a request frame into an environment, calls the application and turns its
answer into frames, for every kind of answer PSGI knows: an array, a handle, an
object with C<getline>, a delayed response and a streaming one. Offers
C<psgix.input.buffered>, C<psgix.harakiri>, C<psgix.cleanup> and
C<psgix.informational>.

=cut

use constant {
    CHUNK  => 64 * 1024,
    STATUS => qr/\A[2-9][0-9][0-9]\z/,
};

sub new {
    my ($class, %arg) = @_;
    my $self = bless { app => $arg{app}, trace => $arg{trace} }, $class;
    $self->{base} = [
        'psgi.version'         => [1, 1],
        'psgi.errors'          => PagiBridge::Errors->handle($arg{worker}),
        'psgi.multithread'     => '',
        'psgi.multiprocess'    => $arg{multiprocess} ? 1 : '',
        'psgi.run_once'        => '',
        'psgi.nonblocking'     => '',
        'psgi.streaming'       => 1,
        'psgix.input.buffered' => 1,
        'psgix.harakiri'       => 1,
        'psgix.cleanup'        => 1,
        'psgix.informational'  => sub { inform($arg{worker}, @_) },
    ];
    return $self;
}

=head2 handle($worker, $frame)

Serves one request.

=cut

sub handle {
    my ($self, $worker, $frame) = @_;
    my $flags = unpack 'x9 C', $frame;
    my @pairs = unpack 'x10 N/(N/a*N/a*) a*', $frame;
    my $body  = pop @pairs;
    my $input;
    if (!open $input, '<', $flags & BODY_FILE ? $body : \$body) {
        return $self->abort($worker, ABORT_DIED, "cannot open the request body: $!");
    }
    my $cleanup = [];
    my $env     = {
        @{ $self->{base} }, @pairs,
        'psgi.input'             => $input,
        'psgix.cleanup.handlers' => $cleanup,
    };
    my ($response, $error, $trace, $ok);
    {
        local $SIG{__DIE__} = sub { $trace = $self->{trace}->(); die @_ } if $self->{trace};
        local $@;
        $ok    = eval { $response = $self->{app}->($env); 1 };
        $error = $@ if !$ok;
    }

    # Most answers are small arrays and leave here, in one frame.
    if (ref $response eq 'ARRAY' && @$response == 3 && ref $response->[2] eq 'ARRAY' && !@$cleanup
        && !$env->{'psgix.harakiri.commit'})
    {
        my $simple = simple($response);
        if (defined $simple) {
            $worker->{out} .= pack('N N C C', length $simple, $worker->{stream}, RESPONSE, FIN) . $simple;
            return;
        }
    }

    my $answer = { worker => $worker, stream => $worker->{stream}, env => $env, cleanup => $cleanup };
    if ($ok) {
        local $SIG{__DIE__} = sub { $trace = $self->{trace}->(); die @_ } if $self->{trace};
        local $@;
        $ok    = eval { respond($answer, $response); 1 };
        $error = $@ if !$ok;
    }
    died($answer, $error, $trace) if !$ok;
    undef $response;
    finish($answer);
    return;
}

# simple packs a small answer that has nothing wrong with it; undef for any other.
sub simple {
    my ($status, $headers, $body) = @{ $_[0] };
    no warnings 'uninitialized';    # an undefined element is an empty one
    return if ref $headers ne 'ARRAY' || @$headers % 2 || $status !~ STATUS;
    my $bytes = pack('n N (N/a*)*', $status, @$headers / 2, @$headers) . (@$body == 1 ? $body->[0] : join '', @$body);
    return if length $bytes > CHUNK || !utf8::downgrade($bytes, 1);
    return $bytes;
}

# respond sends whatever the application returned.
sub respond {
    my ($answer, $response) = @_;
    my $kind = reftype($response) || '';
    if ($kind eq 'ARRAY') {
        return send_response($answer, $response) if @$response == 3;
        return invalid($answer, 'returned an array of ' . @$response . ' elements; PSGI wants [status, headers, body]');
    }
    if ($kind ne 'CODE') {
        return invalid($answer, 'returned ' . describe($response) . '; PSGI wants [status, headers, body] or a code reference');
    }
    $response->(sub {
        my ($late) = @_;
        if ($answer->{started}) {
            die "the responder was called twice\n";
        }
        if ((reftype($late) || '') ne 'ARRAY' || @$late < 2 || @$late > 3) {
            return invalid($answer, 'gave the responder ' . describe($late) . '; PSGI wants [status, headers, body] or [status, headers]');
        }
        if (@$late == 3 && defined $late->[2]) {
            send_response($answer, $late);
            return;
        }
        my $head = head($answer, $late) or return;
        $answer->{started} = 1;
        $answer->{worker}->write_now(frame(RESPONSE, 0, $answer->{stream}, $head));
        $answer->{writing} = 1;
        return PagiBridge::Writer->new($answer);
    });
    if (!$answer->{started}) {
        return invalid($answer, 'returned a code reference that did not call its responder');
    }
    return;
}

# send_response sends [status, headers, body].
sub send_response {
    my ($answer, $response) = @_;
    my $head = head($answer, $response);
    return if !defined $head;
    my $body = $response->[2];
    if (ref $body eq 'ARRAY') {
        return send_array($answer, $head, $body);
    }
    if (!defined $body) {
        return invalid($answer, 'returned no body; PSGI wants an array or a handle');
    }
    if (my $file = real_file($body)) {
        $answer->{started} = 1;
        $answer->{worker}->put(frame(RESPONSE, 0, $answer->{stream}, $head));
        $answer->{last} = [FILE, $file];
        $answer->{close} = $body;
        return;
    }
    if (ref $body eq 'GLOB' || ref \$body eq 'GLOB' || blessed($body) && $body->can('getline')) {
        return send_handle($answer, $head, $body);
    }
    return invalid($answer, 'returned ' . describe($body) . ' for a body; PSGI wants an array or an object with getline');
}

sub send_array {
    my ($answer, $head, $body) = @_;
    no warnings 'uninitialized';    # an undefined element is an empty one
    my $bytes = @$body == 1 ? $body->[0] : join '', @$body;
    utf8::downgrade($bytes, 1) or return wide($answer, 'body');
    $answer->{started} = 1;
    if (length $bytes <= CHUNK) {
        $answer->{last} = [RESPONSE, $head . $bytes];
        return;
    }
    my $worker = $answer->{worker};
    $worker->put(frame(RESPONSE, 0, $answer->{stream}, $head));
    my $offset = 0;
    for (; length($bytes) - $offset > CHUNK; $offset += CHUNK) {
        $worker->write_now(frame(BODY, 0, $answer->{stream}, substr $bytes, $offset, CHUNK));
    }
    $answer->{last} = [BODY, substr $bytes, $offset];
    return;
}

sub send_handle {
    my ($answer, $head, $body) = @_;
    my ($worker, $stream) = @$answer{qw(worker stream)};
    $answer->{started} = 1;
    $answer->{close}   = $body;
    $worker->put(frame(RESPONSE, 0, $stream, $head));
    local $/ = \(CHUNK);
    while (defined(my $piece = ref $body && blessed $body ? $body->getline : readline $body)) {
        next if !length $piece;
        utf8::downgrade($piece, 1) or return wide($answer, 'body');
        for (my $offset = 0; $offset < length $piece; $offset += CHUNK) {
            $worker->put(frame(BODY, 0, $stream, substr $piece, $offset, CHUNK));
            $worker->flush;
        }
        last if $worker->client_gone;
    }
    $answer->{last} = [BODY, ''];
    return;
}

# head packs status and headers, or reports why it cannot and returns undef.
sub head {
    my ($answer, $response) = @_;
    my ($status, $headers) = @$response;
    if (!defined $status || $status !~ STATUS) {
        $status = 'undef' if !defined $status;
        invalid($answer, "returned the status '$status'; it must be a number from 200 to 999");
        return;
    }
    if ((reftype($headers) || '') ne 'ARRAY' || @$headers % 2) {
        invalid($answer, 'returned ' . describe($headers) . ' for headers; PSGI wants an array of names and values');
        return;
    }
    no warnings 'uninitialized';
    my $head = pack 'n N (N/a*)*', $status, @$headers / 2, @$headers;
    if (!utf8::downgrade($head, 1)) {
        wide($answer, 'headers');
        return;
    }
    return $head;
}

# real_file returns the payload of a FILE frame when the body is a plain file, by
# its own path or by that of its descriptor, and nothing stands between its bytes
# and the client; else undef.
sub real_file {
    my ($body) = @_;
    my $handle = openhandle($body) or return;
    return if tied *$handle;
    my $fd = eval { fileno $handle };
    return if !defined $fd || $fd < 0;
    return if grep { $_ ne 'unix' && $_ ne 'perlio' } PerlIO::get_layers($handle);
    my @stat = stat $handle;
    return if !@stat || !Fcntl::S_ISREG($stat[2]);
    my $path = blessed $body && $body->can('path') ? $body->path : readlink "/proc/self/fd/$fd";
    return if !defined $path || $path !~ m{\A/};
    my @there = stat $path;
    return if !@there || $there[0] != $stat[0] || $there[1] != $stat[1];
    my $offset = tell $handle;
    return if $offset < 0;
    my $length = $stat[7] > $offset ? $stat[7] - $offset : 0;
    utf8::encode($path) if utf8::is_utf8($path);
    return pack 'Q> Q> Q> Q> a*', $offset, $length, @stat[0, 1], $path;
}

# inform is psgix.informational: an interim response such as 103 Early Hints.
sub inform {
    my ($worker, $status, $headers) = @_;
    die "psgix.informational: status must be 102 to 199, not 100 or 101\n"
        if !defined $status || $status !~ /\A1(?:0[2-9]|[1-9][0-9])\z/;
    $headers ||= [];
    my $head = pack 'n N (N/a*)*', $status, @$headers / 2, @$headers;
    utf8::downgrade($head, 1) or die "psgix.informational: wide character in headers\n";
    return $worker->write_now(frame(INFORMATIONAL, 0, $worker->{stream}, $head));
}

# finish sends the end of the answer, runs what was left for afterwards and
# tells the gateway that the worker is free.
sub finish {
    my ($answer) = @_;
    my ($worker, $stream, $env) = @$answer{qw(worker stream env)};
    if (my $body = delete $answer->{close}) {
        my $ok = eval {
            if    (blessed $body && $body->can('close')) { $body->close }
            elsif (openhandle($body))                    { close $body }
            1;
        };
        $worker->log(LOG_ERROR, 'the body\'s close method died: ' . message($@)) if !$ok;
    }
    if ($answer->{writing} && !$worker->{cancelled}) {
        abort_stream($answer, ABORT_CUT, 'the application did not close its writer');
    }
    $answer->{finished} = 1;
    my $later = @{ $answer->{cleanup} } || $env->{'psgix.harakiri.commit'};
    my $last  = delete $answer->{last} || [BODY, ''];
    $worker->put(frame($last->[0], FIN | ($later ? BUSY : 0), $stream, $last->[1])) if !$answer->{aborted};
    return if !$later;
    $worker->flush;
    for my $handler (@{ $answer->{cleanup} }) {
        my $ok = eval { $handler->($env); 1 };
        $worker->log(LOG_ERROR, 'a cleanup handler died: ' . message($@)) if !$ok;
    }
    $worker->exiting('harakiri') if $env->{'psgix.harakiri.commit'};
    $worker->put(frame(IDLE, 0, $stream, ''));
    return;
}

sub invalid {
    my ($answer, $what) = @_;
    return abort_stream($answer, ABORT_INVALID, "the application $what");
}

sub wide {
    my ($answer, $where) = @_;
    return abort_stream($answer, ABORT_DIED,
        "wide character in the response $where: PSGI wants bytes; encode the text first (Encode::encode_utf8)");
}

sub died {
    my ($answer, $error, $trace) = @_;
    if (blessed $error && $error->isa('PagiBridge::ClientGone')) {
        $answer->{last} = [BODY, ''];
        return;
    }
    my $message = message($error);
    $message .= "\n$trace" if defined $trace;
    return abort_stream($answer, ABORT_DIED, $message);
}

# abort_stream gives the answer up. The gateway makes an error response of it, or
# cuts the connection where the response has begun.
sub abort_stream {
    my ($answer, $kind, $message) = @_;
    return if $answer->{aborted}++;
    my $later = @{ $answer->{cleanup} } || $answer->{env}{'psgix.harakiri.commit'};
    utf8::encode($message) if utf8::is_utf8($message);
    delete $answer->{last};
    $answer->{started} = 1;
    $answer->{worker}->write_now(
        frame(ABORT, FIN | ($later ? BUSY : 0), $answer->{stream}, pack 'C a*', $kind, substr $message, 0, CHUNK));
    return;
}

sub abort {
    my ($self, $worker, $kind, $message) = @_;
    return $worker->write_now(frame(ABORT, FIN, $worker->{stream}, pack 'C a*', $kind, $message));
}

# message renders whatever was thrown.
sub message {
    my ($error) = @_;
    return 'unknown error' if !defined $error || !ref $error && $error eq '';
    if (!ref $error) {
        $error =~ s/\s+\z//;
        return $error;
    }
    my $text = eval {
        require overload;
        blessed $error && overload::Method($error, '""') ? "$error"
            : blessed $error && $error->can('message')  ? $error->message
            :                                             undef;
    };
    if (!defined $text) {
        $text = dump_value($error);
    }
    $text =~ s/\s+\z//;
    return 'died with ' . describe($error) . ": $text";
}

sub dump_value {
    my ($value) = @_;
    require Data::Dumper;
    return Data::Dumper->new([$value])->Indent(0)->Terse(1)->Maxdepth(3)->Sortkeys(1)->Dump;
}

sub describe {
    my ($value) = @_;
    return 'nothing (undef)' if !defined $value;
    return 'an object of class ' . ref $value if blessed $value;
    return 'a reference to ' . ref $value     if ref $value;
    return 'the string \'' . (length $value > 60 ? substr($value, 0, 60) . '...' : $value) . '\'';
}

1;
