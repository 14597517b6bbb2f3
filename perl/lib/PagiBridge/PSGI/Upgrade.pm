package PagiBridge::PSGI::Upgrade;

use strict;
use warnings;

=head1 NAME

PagiBridge::PSGI::Upgrade - translates between the bytes of a WebSocket and its events

=head1 SYNOPSIS

    my $upgrade = PagiBridge::PSGI::Upgrade->new;
    for my $event ($upgrade->from_app($bytes)) {
        if (defined $event->{reply}) { print {$app} $event->{reply} }
        else                         { $send->($event) }
    }
    print {$app} $upgrade->to_app($event);

=head1 DESCRIPTION

The application speaks HTTP/1.1 and RFC 6455 as a server. It says 101 and then sends frames, or it sends another response,
which declines the WebSocket. Here is the other side of that, without a socket. Extensions are not offered. A ping of the
application is answered here: the gateway looks itself whether the client is there.

=head1 METHODS

=head2 new, accepted

C<accepted> returns one whose handshake has been done otherwise.

=cut

use constant {
    HEAD    => 65536,               # the longest head of a response
    MESSAGE => 16 * 1024 * 1024,    # the longest message
    TEXT    => 1,
    BINARY  => 2,
    CLOSE   => 8,
    PING    => 9,
    PONG    => 10,
};

sub new {
    my ($class) = @_;
    return bless { stage => 'head', in => '', message => undef, op => 0, left => undef }, $class;
}

sub accepted {
    my ($class) = @_;
    my $self = $class->new;
    $self->{stage} = 'frames';
    return $self;
}

=head2 is_begun, is_over

Whether the application has written anything, and whether what it says is complete.

=cut

sub is_begun { my ($self) = @_; return $self->{stage} ne 'head' || $self->{in} ne '' }
sub is_over  { return $_[0]{stage} eq 'over' }

=head2 from_app($bytes)

Returns the events that the application has sent, and replies to it. Dies with a sentence when the bytes are wrong.

=cut

sub from_app {
    my ($self, $bytes) = @_;
    $self->{in} .= $bytes;
    my @events;
    push @events, $self->head if $self->{stage} eq 'head';
    if    ($self->{stage} eq 'frames') { push @events, $self->frames }
    elsif ($self->{stage} eq 'body')   { push @events, $self->body }
    elsif ($self->{stage} eq 'over')   { $self->{in} = '' }
    return @events;
}

sub head {
    my ($self) = @_;
    my $in = $self->{in};
    if ($in !~ /\r?\n\r?\n/) {
        die 'psgix.io: a response with a head of more than ' . HEAD . " bytes\n" if length $in > HEAD;
        return;
    }
    my ($head, $rest) = (substr($in, 0, $-[0]), substr $in, $+[0]);
    my ($line, @lines) = split /\r?\n/, $head;
    my ($status) = $line =~ m{\AHTTP/1\.[01] ([1-9][0-9][0-9])(?: |\z)};
    die 'psgix.io: the application has written something else than a response of HTTP/1.1: ' . substr($line, 0, 80) . "\n" if !defined $status;
    my (@headers, %value);
    for (@lines) {
        my ($name, $value) = /\A([^\s:]+):[ \t]*(.*?)[ \t]*\z/ or die 'psgix.io: no header: ' . substr($_, 0, 80) . "\n";
        $value{ lc $name } = $value;
        push @headers, [lc $name, $value] if $name !~ /\A(?:connection|upgrade|transfer-encoding|sec-websocket-.*)\z/i;
    }
    $self->{in} = $rest;
    if ($status == 101) {
        die "psgix.io: the application has accepted an extension that was not offered: $value{'sec-websocket-extensions'}\n"
            if defined $value{'sec-websocket-extensions'} && $value{'sec-websocket-extensions'} ne '';
        $self->{stage} = 'frames';
        my %event = (type => 'websocket.accept', headers => [grep { $_->[0] !~ /\A(?:content-length|date|server)\z/ } @headers]);
        $event{subprotocol} = $value{'sec-websocket-protocol'} if defined $value{'sec-websocket-protocol'};
        return \%event;
    }
    die "psgix.io: the application has answered with status $status\n" if $status < 200;
    die "psgix.io: a response that declines a WebSocket must not be chunked\n" if defined $value{'transfer-encoding'};
    $self->{stage} = 'body';
    $self->{left} = $1 if ($value{'content-length'} || '') =~ /\A([0-9]{1,15})\z/;
    return { type => 'websocket.http.response.start', status => $status, headers => \@headers };
}

sub body {
    my ($self) = @_;
    my $bytes = $self->{in};
    $self->{in} = '';
    if (defined $self->{left}) {
        $bytes = substr $bytes, 0, $self->{left} if length $bytes > $self->{left};
        $self->{left} -= length $bytes;
        $self->{stage} = 'over' if !$self->{left};
    }
    return if !length $bytes && $self->{stage} ne 'over';
    return { type => 'websocket.http.response.body', body => $bytes, more => $self->{stage} eq 'over' ? 0 : 1 };
}

sub frames {
    my ($self) = @_;
    my @events;
    while (my ($is_last, $op, $payload) = $self->frame) {
        if ($op == CLOSE) {
            $self->{stage} = 'over';
            my ($code, $reason) = length $payload >= 2 ? unpack 'n a*', $payload : (1000, '');
            $code = 1000 if $code == 1005 || $code == 1006 || $code < 1000;
            push @events, { type => 'websocket.close', code => $code, reason => $reason };
            last;
        }
        if ($op == PING) { push @events, { reply => packed(PONG, $payload) }; next }
        next if $op == PONG;
        if ($op) {
            die "psgix.io: a message within another one\n" if $self->{op};
            die "psgix.io: a frame with the unknown opcode $op\n" if $op != TEXT && $op != BINARY;
            @$self{qw(op message)} = ($op, $payload);
        }
        else {
            die "psgix.io: a continuation of no message\n" if !$self->{op};
            $self->{message} .= $payload;
        }
        die 'psgix.io: a message of more than ' . MESSAGE . " bytes\n" if length $self->{message} > MESSAGE;
        next if !$is_last;
        my ($kind, $message) = delete @$self{qw(op message)};
        if ($kind == BINARY) { push @events, { type => 'websocket.send', bytes => $message }; next }
        utf8::decode($message) or $message !~ /[^\x00-\x7f]/ or die "psgix.io: a text that is not UTF-8\n";
        push @events, { type => 'websocket.send', text => $message };
    }
    return @events;
}

# frame takes a frame off the input: is it the last of its message, its opcode, its payload.
sub frame {
    my ($self) = @_;
    return if length $self->{in} < 2;
    my ($first, $second) = unpack 'C C', $self->{in};
    die "psgix.io: a frame with a reserved bit; no extension was offered\n" if $first & 0x70;
    my ($at, $length) = (2, $second & 0x7f);
    if ($length == 126) {
        return if length $self->{in} < 4;
        ($at, $length) = (4, unpack 'x2 n', $self->{in});
    }
    elsif ($length == 127) {
        return if length $self->{in} < 10;
        my ($high, $low) = unpack 'x2 N N', $self->{in};
        ($at, $length) = (10, $high ? MESSAGE + 1 : $low);
    }
    die 'psgix.io: a frame of more than ' . MESSAGE . " bytes\n" if $length > MESSAGE;
    my $mask = '';
    if ($second & 0x80) {
        $mask = substr $self->{in}, $at, 4;
        $at += 4;
    }
    return if length $self->{in} < $at + $length;
    my $payload = substr $self->{in}, $at, $length;
    substr $self->{in}, 0, $at + $length, '';
    $payload ^= substr $mask x (1 + $length / 4), 0, $length if $mask ne '' && $mask ne "\0\0\0\0";
    return ($first & 0x80, $first & 0x0f, $payload);
}

=head2 end_of_app

Returns the events for the end of what the application writes. Without a close frame the WebSocket is closed with code 1000.

=cut

sub end_of_app {
    my ($self) = @_;
    my $stage = $self->{stage};
    $self->{stage} = 'over';
    return { type => 'websocket.close', code => 1000 } if $stage eq 'frames';
    return { type => 'websocket.http.response.body', body => '', more => 0 } if $stage eq 'body';
    return;
}

=head2 to_app($event)

Returns the bytes by which the application learns of an event.

=cut

sub to_app {
    my ($self, $event) = @_;
    if ($event->{type} eq 'websocket.receive') {
        return packed(BINARY, $event->{bytes}) if defined $event->{bytes};
        my $text = $event->{text};
        utf8::encode($text) if utf8::is_utf8($text);
        return packed(TEXT, $text);
    }
    return '' if $event->{type} ne 'websocket.disconnect' || $event->{code} == 1006;
    return packed(CLOSE, '') if $event->{code} == 1005;
    my $reason = defined $event->{reason} ? $event->{reason} : '';
    utf8::encode($reason) if utf8::is_utf8($reason);
    return packed(CLOSE, pack('n', $event->{code}) . substr $reason, 0, 123);
}

# packed returns a frame of a client, which must be masked. The mask is zero, which leaves the payload as it is.
sub packed {
    my ($op, $payload) = @_;
    my $length = length $payload;
    my $head = $length < 126 ? pack 'C C', 0x80 | $op, 0x80 | $length
        : $length < 65536 ? pack 'C C n', 0x80 | $op, 0x80 | 126, $length
        :                   pack 'C C N N', 0x80 | $op, 0x80 | 127, 0, $length;
    return $head . "\0\0\0\0" . $payload;
}

1;
