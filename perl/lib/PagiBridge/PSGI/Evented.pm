package PagiBridge::PSGI::Evented;

use strict;
use warnings;

use parent -norequire, 'PagiBridge::PSGI::Exchange';

use Scalar::Util qw(blessed openhandle reftype);

use PagiBridge::Answer ();
use PagiBridge::Describe qw(message);
use PagiBridge::File ();
use PagiBridge::Hint ();
use PagiBridge::PSGI::Exchange ();
use PagiBridge::PSGI::Socket ();
use PagiBridge::PSGI::Writer ();

=head1 NAME

PagiBridge::PSGI::Evented - a request to a PSGI application that may answer at any time

=head1 SYNOPSIS

    return PagiBridge::PSGI::Evented->new($server, $scope, $receive, $send)->begin;

=head1 DESCRIPTION

A L<PagiBridge::PSGI::Exchange>. It takes all forms of answers, and a delayed one whenever it comes. An answer that cannot come
any more is an error: the responder is gone without a call, or the writer without C<close>.

For a WebSocket the environment has C<psgix.io>, one end of a pair of sockets; L<PagiBridge::PSGI::Socket> is at the other end.
An answer in place of a handshake declines the WebSocket.

=cut

use constant PIECE => 16384 - 8;

sub environ {
    my ($self) = @_;
    my $env = $self->SUPER::environ;
    $env->{'psgix.output.buffered'} = 1;    # write never waits
    $env->{'psgix.output.guard'}    = 1;
    if ($self->{scope}{type} eq 'websocket') {
        ($self->{socket}, $env->{'psgix.io'}) = PagiBridge::PSGI::Socket->pair($self);
    }
    else { $env->{'psgix.informational'} = sub { $self->inform(@_) } }
    return $env;
}

# inform is the code behind psgix.informational.
sub inform {
    my ($self, $status, $headers) = @_;
    return if $self->{over};
    my @list = @{ $headers || [] };
    my @pairs;
    push @pairs, [splice @list, 0, 2] while @list;
    my ($why) = $self->{send}->({ type => 'http.response.informational', status => $status, headers => \@pairs })->failure;
    die "psgix.informational: $why" if defined $why;
    return;
}

sub call {
    my ($self, $env) = @_;
    my $response;
    return $self->died($@) if !eval { $response = $self->{server}{psgi}->($env); 1 };
    $self->{socket}->start if $self->{socket};
    return $self->give($response);
}

sub died {
    my ($self, $error) = @_;
    my $text = message($error);
    return $self->fail($text . (PagiBridge::Hint::error($text) =~ /PAGI/ ? PagiBridge::Hint::error($text) : ''));
}

sub invalid { my ($self, $what) = @_; return $self->fail("the application $what") }

# give takes what the application has returned.
sub give {
    my ($self, $response) = @_;
    my $kind = reftype($response) || '';
    if ($kind eq 'ARRAY' && !(blessed $response && $response->isa('AnyEvent::CondVar'))) {
        return @$response >= 3 ? $self->answer($response) : $self->invalid(PagiBridge::Answer::wrong($response));
    }
    if (blessed $response && $response->isa('AnyEvent::CondVar')) {    # as Twiggy takes it
        $self->watch if !$self->{socket};
        $response->cb(sub {
            my $late;
            return if $self->{over};
            return eval { $late = $_[0]->recv; 1 } ? $self->give($late) : $self->died($@);
        });
        return;
    }
    if ($kind ne 'CODE') {
        my $hint = blessed $response && $response->isa('Future') ? PagiBridge::Hint::value($response) : '';
        return $self->invalid(PagiBridge::Answer::wrong($response) . $hint);
    }
    my $responder = PagiBridge::PSGI::Responder->new($self);
    # While the application runs this holds the responder, so that its exception comes first.
    return $self->died($@) if !eval { $response->(sub { $responder->respond(@_) }); 1 };
    $self->watch if !$self->{over} && !$self->{socket};
    return;
}

# dropped is called when the responder can be called no more, and was not.
sub dropped {
    my ($self) = @_;
    return if $self->{over};
    $self->{unanswered} = 1;
    return if $self->{socket} && !$self->{socket}->is_unused;
    return $self->fail('the application has dropped its responder without calling it, so no answer can come');
}

# unused is called when the application has closed psgix.io and has written nothing.
sub unused {
    my ($self) = @_;
    return if $self->{over} || $self->{started};
    return $self->fail('the application has closed psgix.io without a response') if $self->{unanswered};
    return;
}

# respond is the responder's work. It returns the writer.
sub respond {
    my ($self, $late) = @_;
    return PagiBridge::PSGI::Writer->new({ over => 1 }) if $self->is_taken_over;
    if ((reftype($late) || '') ne 'ARRAY' || @$late < 2) {
        $self->invalid(PagiBridge::Answer::wrong_late($late)) if !$self->{over};
        return;
    }
    if (defined $late->[2]) {
        $self->answer($late) if !$self->{over};
        return;
    }
    my ($status, $headers, $problem) = PagiBridge::Answer::status_and_headers($late);
    if (defined $problem) {
        $self->invalid($problem) if !$self->{over};
        return;
    }
    $self->start($status, $headers) if !$self->{over};
    return PagiBridge::PSGI::Writer->new($self);
}

# is_taken_over reports whether the application has answered by psgix.io. What it answers besides counts for nothing: some
# applications call the responder at the end of a WebSocket.
sub is_taken_over {
    my ($self) = @_;
    my $socket = $self->{socket} or return 0;
    $socket->look;
    return $self->{over} || $self->{started};
}

# answer sends [status, headers, body].
sub answer {
    my ($self, $response) = @_;
    return if $self->is_taken_over;
    my ($status, $headers, $problem) = PagiBridge::Answer::status_and_headers($response);
    return $self->invalid($problem) if defined $problem;
    my $body = $response->[2];
    if (ref $body eq 'ARRAY') {
        no warnings 'uninitialized';    # an undefined element is an empty one
        my $bytes = @$body == 1 ? "$body->[0]" : join '', @$body;
        return $self->fail(PagiBridge::Answer::too_wide('body')) if !utf8::downgrade($bytes, 1);
        return if !$self->start($status, $headers);
        return $self->last_piece($bytes);
    }
    return $self->invalid(PagiBridge::Answer::wrong_body($body))
        if !defined $body || !(ref $body eq 'GLOB' || ref \$body eq 'GLOB' || blessed $body && $body->can('getline'));
    return if !$self->start($status, $headers);
    $self->{source} = $body;
    my $handle = openhandle($body);
    if ($handle && $self->{scope}{type} eq 'http' && !tied *$handle && !(blessed $body && PagiBridge::File::is_special($body, 'getline'))) {
        return $self->after($self->emit({ type => 'http.response.body', fh => $body }), sub { $self->finish });
    }
    return $self->last_piece('') if !$handle && !(blessed $body && !reftype_is_glob($body)) && !tied *$body;    # closed
    return $self->pump;
}

sub reftype_is_glob { return (reftype($_[0]) || '') eq 'GLOB' && !PagiBridge::File::is_special($_[0], 'getline') }

# start sends the head, and reports whether that could be done.
sub start {
    my ($self, $status, $headers) = @_;
    my @list = map { defined $_ ? "$_" : '' } @$headers;
    for (@list) {
        next if !/[\r\n]/;
        s/[ \t\r\n]+\z//;       # a newline at the end of a value, and a folded value, as workers without a loop take them
        s/\r?\n[ \t]+/ /g;
    }
    my @pairs;
    push @pairs, [splice @list, 0, 2] while @list;
    $self->{started} = 1;
    $self->{type}    = $self->{scope}{type} eq 'http' ? 'http.response' : 'websocket.http.response';
    if (my $socket = delete $self->{socket}) { $socket->drop }
    $self->emit({ type => "$self->{type}.start", status => $status, headers => \@pairs });
    return !$self->{over};
}

# piece sends bytes of the body, and last_piece the last ones.
sub piece {
    my ($self, $bytes, $is_last) = @_;
    return $self->emit({ type => "$self->{type}.body", body => $bytes, more => $is_last ? 0 : 1 });
}

sub last_piece {
    my ($self, $bytes) = @_;
    return $self->after($self->piece($bytes, 1), sub { $self->finish });
}

# pump sends a body that is read by its own methods, as fast as the client takes it.
sub pump {
    my ($self) = @_;
    my $loop = $self->{server}{loop};
    $self->watch if !$self->{watching}++ && $self->{scope}{type} eq 'http';
    for (1 .. 16) {
        return if $self->{over};
        my ($piece, $body) = (undef, $self->{source});
        local $/ = \(PIECE);
        return $self->fail($@) if !eval { $piece = blessed $body ? $body->getline : readline $body; 1 };
        return $self->last_piece('') if !defined $piece;
        last if !length $piece;    # nothing yet
        return $self->fail(PagiBridge::Answer::too_wide('body')) if !utf8::downgrade($piece, 1);
        my $sent = $self->piece($piece);
        next if $sent->is_ready;
        return $self->after($sent, sub { $loop->later(sub { $self->pump }) });
    }
    $loop->later(sub { $self->pump });    # others have a turn
    return;
}

# close gives up what the exchange holds.
sub close {
    my ($self) = @_;
    if (my $socket = delete $self->{socket}) { $socket->drop }
    delete @$self{qw(writer guard)};
    my $body = delete $self->{source};
    return if !defined $body;
    my $ok = eval {
        if    (blessed $body && $body->can('close')) { $body->close }
        elsif (openhandle($body))                    { CORE::close $body }
        1;
    };
    PagiBridge::PSGI::Exchange::Log->new(@$self{qw(server scope)})->log(PagiBridge::Wire::LOG_ERROR(), q{the body's close method died: } . message($@)) if !$ok;
    return;
}

1;
