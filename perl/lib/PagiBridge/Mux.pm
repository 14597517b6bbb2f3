package PagiBridge::Mux;

use strict;
use warnings;

use PagiBridge::Wire qw(:frames frame check_length pack_pairs unpack_pairs);

=head1 NAME

PagiBridge::Mux - many scopes over one connection to the gateway

=head1 SYNOPSIS

    my $mux = PagiBridge::Mux->new(
        token    => $token,
        on_ready => sub { ... },                     # the gateway has welcomed this worker
        on_scope => sub {
            my ($stream) = @_;
            my $scope = scope_of($stream->payload);
            $stream->on_event(sub { my ($payload, $cost) = @_; ...; $stream->taken($cost) });
            $stream->on_disconnect(sub { my ($code, $reason) = @_; ... });
            $stream->send($payload_of_an_event);
            $stream->end(0);
        },
    );

    # in any kind of loop:
    $mux->feed($bytes_that_were_read);
    my $n = syswrite $socket, ${ $mux->out };
    $mux->written($n);

=head1 DESCRIPTION

The worker's side of section 5 of F<bridge/wire/PROTOCOL.md>, without a socket and without an
event loop: bytes go in, calls come out, and bytes to be written are collected. It never waits.

Dies with a sentence when the gateway breaks the protocol. The worker should then exit.

=cut

use constant {
    WINDOW  => 65536,
    PIECE   => 16384,              # the most of an event in a frame
    LEAST   => 1024,               # the least of a longer event for which a stream waits
    MESSAGE => 16 * 1024 * 1024,
    STREAMS => 1000,
};

=head1 METHODS

=head2 new(%options)

C<token>, C<features> (C<scopes ping> by default), C<on_scope>, and optionally C<streams>, how many scopes may be open
at once (1000), C<on_ready>, called with the pairs of WELCOME, and C<on_drain>. HELLO is in C<out> then.

=cut

sub new {
    my ($class, %arg) = @_;
    my $self = bless {
        on_scope => $arg{on_scope},
        on_ready => $arg{on_ready} || sub { },
        on_drain => $arg{on_drain} || sub { },
        features => $arg{features} || 'scopes ping',
        most     => $arg{streams} || STREAMS,
        in       => '',
        out      => '',
        streams  => {},
        last     => 0,        # the highest stream so far
        peer     => undef,    # the pairs of WELCOME
        draining => 0,
    }, $class;
    $self->{out} = frame(HELLO, 0, 0, pack 'n n N N/a* a*', VERSION, VERSION, $$, $arg{token},
        pack_pairs(features => $self->{features}, streams => $self->{most}, window => WINDOW, message => MESSAGE,
            runtime => 'perl', version => sprintf('%vd', $^V)));
    return $self;
}

=head2 welcomed(%options)

The same for a connection that the gateway has dialled, and that L<PagiBridge::Listen> has greeted. C<peer>
are the gateway's pairs, as a reference to a hash, in the place of C<token> and C<features>.

=head2 info

The pairs that such a WELCOME must have: C<< PagiBridge::Listen->new($path, ..., info => [PagiBridge::Mux::info($streams)]) >>.
C<$streams> is as in C<new>.

=cut

sub welcomed {
    my ($class, %arg) = @_;
    my $self = $class->new(%arg, token => '');
    $self->{out}  = '';
    $self->{peer} = { window => WINDOW, message => MESSAGE, features => '', %{ $arg{peer} } };
    return $self;
}

sub info { return (streams => $_[0] || STREAMS, window => WINDOW, message => MESSAGE) }

=head2 out

A reference to the bytes that are to be written. C<written> takes off what was.

=cut

sub out { return \$_[0]{out} }

sub written {
    my ($self, $n) = @_;
    substr $self->{out}, 0, $n, '';
    return;
}

=head2 ready, failed($message), log($level, $text, $stream)

Tell the gateway that the application is loaded, that it cannot be, and what it prints.

=cut

sub ready { $_[0]{out} .= frame(READY, 0, 0, ''); return }

sub failed {
    my ($self, $message) = @_;
    utf8::encode($message) if utf8::is_utf8($message);
    $self->{out} .= frame(FAILED, 0, 0, substr $message, 0, MAX_MESSAGE);
    return;
}

sub log {
    my ($self, $level, $text, $stream) = @_;
    utf8::encode($text) if utf8::is_utf8($text);
    $self->{out} .= frame(LOG, $level, $stream ? $stream->{id} : 0, substr $text, 0, MAX_MESSAGE);
    return;
}

=head2 is_done

True when the gateway has sent DRAIN, all streams have ended, and all is written.

=cut

sub is_done {
    my ($self) = @_;
    return $self->{draining} && !%{ $self->{streams} } && $self->{out} eq '';
}

=head2 streams

The streams that are open.

=cut

sub streams { return values %{ $_[0]{streams} } }

=head2 close($code, $reason)

Ends all streams, because the connection has ended.

=cut

sub close {
    my ($self, $code, $reason) = @_;
    for my $id (sort { $a <=> $b } keys %{ $self->{streams} }) {
        my $stream = $self->{streams}{$id} or next;    # the end of one may end another
        $stream->disconnect(pack 'n a*', $code, $reason);
    }
    return;
}

=head2 is_draining, peer

True when the gateway has sent DRAIN, and the pairs of WELCOME.

=cut

sub is_draining { return $_[0]{draining} }
sub peer        { return $_[0]{peer} }

=head2 feed($bytes)

Takes bytes that came from the gateway, in pieces of any size.

=cut

sub feed {
    my ($self, $bytes) = @_;
    $self->{in} .= $bytes;
    my $streams = $self->{streams};
    # An application that waits in a loop of its own may feed the next frames from within a call.
    while (length $self->{in} >= HEADER_SIZE) {
        my ($length, $id, $type, $flags) = unpack 'N N C C', $self->{in};
        check_limit($type, $length) if $length > 1024 * 1024;
        last if length($self->{in}) - HEADER_SIZE < $length;
        if ($type == EVENT && $id && $id <= $self->{last} && !$streams->{$id}) {    # its stream has ended meanwhile
            substr $self->{in}, 0, HEADER_SIZE + $length, '';
            next;
        }
        my $payload = substr $self->{in}, HEADER_SIZE, $length;
        substr $self->{in}, 0, HEADER_SIZE + $length, '';
        if    ($type == EVENT && $streams->{$id}) { $streams->{$id}->event($flags, $payload) }
        elsif ($type == SCOPE && $self->{peer})   { $self->open($id, $payload) }
        else                                      { $self->take($type, $flags, $id, $payload) }
    }
    return;
}

# check_limit dies if a frame is longer than its type may be.
sub check_limit {
    my ($type, $length) = @_;
    return if $type == EVENT && $length <= MAX_PAYLOAD;
    die sprintf "wire: a frame of type 0x%02x with %d bytes is over the limit\n", $type, $length;
}

sub take {
    my ($self, $type, $flags, $id, $payload) = @_;
    return $self->greeted($type, $payload) if !$self->{peer};
    if ($type == EVENT || $type == CREDIT || $type == DISCONNECT) {
        my $stream = $self->{streams}{$id};
        if (!$stream) {
            die "wire: stream $id was never opened\n" if !$id || $id > $self->{last};
            return;    # it has ended meanwhile
        }
        if    ($type == EVENT)  { $stream->event($flags, $payload) }
        elsif ($type == CREDIT) { $stream->credit($payload) }
        else                    { $stream->disconnect($payload) }
    }
    elsif ($type == PING) {
        die "wire: a PING of the wrong size\n" if length $payload != 8;
        $self->{out} .= frame(PONG, 0, 0, $payload);
    }
    elsif ($type == DRAIN) {
        $self->{draining} = 1;
        $self->{on_drain}->();
    }
    else { die sprintf "wire: a frame of type 0x%02x from the gateway\n", $type }
    return;
}

# greeted takes the answer to HELLO.
sub greeted {
    my ($self, $type, $payload) = @_;
    die "the gateway has refused this worker: $payload\n" if $type == REFUSED;
    die "wire: no WELCOME\n" if $type != WELCOME || length $payload < 6;
    my ($version) = unpack 'n', $payload;
    die "wire: version $version was not offered\n" if $version != VERSION;
    my @pairs = unpack_pairs(substr $payload, 6);
    pop @pairs;
    my %peer = (window => WINDOW, message => MESSAGE, features => '', @pairs);
    $self->{peer} = \%peer;
    $self->{on_ready}->(\%peer);
    return;
}

sub open {
    my ($self, $id, $payload) = @_;
    die "wire: stream $id after stream $self->{last}\n" if $id <= $self->{last};
    die "wire: more than $self->{most} streams\n" if keys %{ $self->{streams} } >= $self->{most};
    $self->{last} = $id;
    my $stream = $self->{streams}{$id} = PagiBridge::Mux::Stream->new($self, $id, $payload);
    $self->{on_scope}->($stream);
    return;
}

package PagiBridge::Mux::Stream;

use PagiBridge::Wire qw(:frames frame);

use constant {
    COST  => PagiBridge::Wire::HEADER_SIZE(),    # of an EVENT beside its payload
    PIECE => PagiBridge::Mux::PIECE(),
};

=head1 STREAMS

=head2 id, payload

The number of the stream, and the payload of its SCOPE.

=cut

sub new {
    my ($class, $mux, $id, $payload) = @_;
    return bless {
        mux      => $mux,
        id       => $id,
        payload  => $payload,
        window   => $mux->{peer}{window},    # what may be sent
        used     => 0,                       # of the window, by events that were not taken
        # queue, events that wait for credit; ended, the payload of END; parts, of an event; owed, of the window by parts
        # that came while an event was not taken; gone: DISCONNECT has come; handler; on_event, on_gone, on_credit
    }, $class;
}

sub id      { return $_[0]{id} }
sub payload { return $_[0]{payload} }

=head2 take_payload

The payload, which the stream then forgets.

=cut

sub take_payload { return delete $_[0]{payload} }

=head2 handle_by($object)

Has an object called instead of codes: its methods C<event>, C<disconnect> and C<credit>. The object may
hold the stream.

=cut

sub handle_by { $_[0]{handler} = $_[1]; return }

=head2 on_event($code), on_disconnect($code), on_credit($code)

Set what is called with the payload and the cost of each event, with the code and the reason of
the disconnect, and when credit has come. The application calls C<taken> with the cost of an event
when it is done with that event.

=cut

sub on_event      { $_[0]{on_event}  = $_[1]; return }
sub on_disconnect { $_[0]{on_gone}   = $_[1]; return }
sub on_credit     { $_[0]{on_credit} = $_[1]; return }

=head2 send($payload)

Sends an event, as far as the window allows at once. What is left waits for credit. After the
disconnect nothing is sent. Returns whether nothing waits.

=cut

sub send {
    my ($self, $payload) = @_;
    return 1 if $self->{gone} || defined $self->{ended};
    my $length = length $payload;
    if ($length <= PIECE && $self->{window} >= $length + COST && !$self->{queue}) {
        $self->{window} -= $length + COST;
        $self->{mux}{out} .= pack('N N C C', $length, $self->{id}, EVENT, 0) . $payload;
        return 1;
    }
    my $most = $self->{mux}{peer}{message};
    die "an event of $length bytes, the gateway takes $most\n" if $length > $most;
    push @{ $self->{queue} }, $payload;
    $self->flush;
    return !$self->{queue};
}

=head2 buffered

How many bytes were sent, or wait, that the client has not taken yet: C<buffered_amount>.

=cut

sub buffered {
    my ($self) = @_;
    my $sent = $self->{mux}{peer}{window} - $self->{window};
    my $waiting = 0;
    $waiting += length for @{ $self->{queue} || [] };
    return $waiting + ($sent > 0 ? $sent : 0);
}

=head2 waiting

How many events wait for credit.

=cut

sub waiting { return $_[0]{queue} ? scalar @{ $_[0]{queue} } : 0 }

sub flush {
    my ($self) = @_;
    my $queue = $self->{queue} || [];
    while (@$queue) {
        my $length = length $queue->[0];
        my $least  = $length < PagiBridge::Mux::LEAST() ? $length : PagiBridge::Mux::LEAST();
        last if $self->{window} < $least + COST;
        my $n = $length;
        $n = PIECE                  if $n > PIECE;
        $n = $self->{window} - COST if $n > $self->{window} - COST;
        $self->{window} -= $n + COST;
        $self->{mux}{out} .= frame(EVENT, $n < $length ? PART : 0, $self->{id}, substr $queue->[0], 0, $n, '');
        shift @$queue if $n == $length;
    }
    delete $self->{queue} if !@$queue;
    $self->leave          if defined $self->{ended} && !@$queue;
    return;
}

=head2 end($kind, $message)

Ends the stream, behind all that was sent: 0 when the application has returned, 1 with its
exception, 2 if it does not serve such scopes, 3 with what was wrong with an event.

=cut

sub end {
    my ($self, $kind, $message) = @_;
    return if defined $self->{ended};
    if (defined $message) {
        utf8::encode($message) if utf8::is_utf8($message);
        $self->{ended} = pack 'C a*', $kind, substr $message, 0, MAX_MESSAGE;
    }
    else { $self->{ended} = chr $kind }
    if   ($self->{queue}) { $self->flush }
    else                  { $self->leave }
    return;
}

=head2 has_ended

True after C<end>.

=cut

sub has_ended { return defined $_[0]{ended} }

sub leave {
    my ($self) = @_;
    my $mux = $self->{mux} or return;
    delete $mux->{streams}{ $self->{id} } or return;
    $mux->{out} .= pack('N N C C', length $self->{ended}, $self->{id}, SCOPE_END, 0) . $self->{ended};
    # These may hold the stream.
    if   ($self->{handler}) { delete $self->{handler} }
    else                    { delete @$self{qw(on_event on_gone on_credit)} }
    delete $self->{watcher} if $self->{watcher};
    return;
}

=head2 taken($cost)

Grants the gateway credit for an event that the application is done with.

=cut

sub taken {
    my ($self, $cost) = @_;
    $self->{used} -= $cost;
    $cost += delete $self->{owed} if $self->{owed} && !$self->{used};
    return $self->grant($cost);
}

sub grant {
    my ($self, $bytes) = @_;
    $self->{mux}{out} .= frame(CREDIT, 0, $self->{id}, pack 'N', $bytes) if !defined $self->{ended} && !$self->{gone};
    return;
}

sub event {
    my ($self, $flags, $payload) = @_;
    my $cost = length($payload) + COST;
    die "wire: an EVENT of $cost bytes goes beyond the window\n"
        if $self->{used} + ($self->{owed} || 0) + $cost > PagiBridge::Mux::WINDOW();
    return if $self->{gone} || defined $self->{ended};
    if ($flags & PART || defined $self->{parts}) {
        $self->{parts} = '' if !defined $self->{parts};
        die "wire: an event that is too large\n" if length($self->{parts}) + length $payload > PagiBridge::Mux::MESSAGE();
        $self->{parts} .= $payload;
        if ($flags & PART) {
            return $self->grant($cost) if !$self->{used};
            $self->{owed} += $cost;    # one large event at a time
            return;
        }
        $payload = delete $self->{parts};
    }
    $self->{used} += $cost;
    if    ($self->{handler})  { $self->{handler}->event($payload, $cost) }
    elsif ($self->{on_event}) { $self->{on_event}->($payload, $cost) }
    return;
}

sub credit {
    my ($self, $payload) = @_;
    die "wire: a CREDIT that does not add up\n" if length $payload != 4;
    my $bytes = unpack 'N', $payload;
    die "wire: CREDIT beyond the limit\n" if $self->{window} + $bytes > 0x7fffffff;
    $self->{window} += $bytes;
    $self->flush if $self->{queue};
    if    ($self->{handler})   { $self->{handler}->credit }
    elsif ($self->{on_credit}) { $self->{on_credit}->() }
    return;
}

sub disconnect {
    my ($self, $payload) = @_;
    die "wire: a DISCONNECT that does not add up\n" if length $payload < 2;
    return if $self->{gone}++;
    delete $self->{queue};
    if    (defined $self->{ended}) { $self->leave }
    elsif ($self->{handler})       { $self->{handler}->disconnect(unpack 'n a*', $payload) }
    elsif ($self->{on_gone})       { $self->{on_gone}->(unpack 'n a*', $payload) }
    return;
}

1;
