package PagiBridge::PSGI::Socket;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use IO::Socket ();
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

use PagiBridge::PSGI::Upgrade ();

=head1 NAME

PagiBridge::PSGI::Socket - psgix.io: the application's connection for a WebSocket

=head1 SYNOPSIS

    my ($socket, $io) = PagiBridge::PSGI::Socket->pair($exchange);
    $env->{'psgix.io'} = $io;
    $socket->start;    # once the application has returned
    $socket->drop;

=head1 DESCRIPTION

One end of a pair of Unix sockets is the application's, which does not block. This object has the other end. It sends what the
application writes as events, and writes events of the client for the application. Each side waits for the other one: bytes
stay in the pair while the client does not take them, and events of the client stay in the gateway while the application does not
read. The exchange ends when both have said what they had to say, or when the application has closed its end.

=head1 METHODS

=cut

use constant {
    READ_SIZE => 65536,
    LINGER    => 30,       # seconds
};

sub pair {
    my ($class, $exchange) = @_;
    socketpair my $theirs, my $ours, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "psgix.io: cannot make a pair of sockets: $!\n";
    for ($theirs, $ours) {
        bless $_, 'IO::Socket';
        $_->blocking(0);
        $_->autoflush(1);
    }
    my $self = bless {
        exchange => $exchange, loop => $exchange->{server}{loop}, handle => $ours, upgrade => PagiBridge::PSGI::Upgrade->new, out => '',
        # reading, the loop watches for bytes; writing, for room; gone, the client has left; closing, the socket ends behind out
    }, $class;
    return ($self, $theirs);
}

=head2 start

Has the loop read.

=cut

sub start {
    my ($self) = @_;
    return if !$self->{handle} || $self->{reading}++;
    $self->{loop}->watch_io(handle => $self->{handle}, on_read_ready => sub { $self->read });
    $self->receive;    # a disconnect may come before anything else
    return;
}

=head2 is_unused

True when the application has closed its end and had written nothing.

=cut

sub is_unused { return !$_[0]{handle} }

=head2 drop

Closes this end.

=cut

sub drop {
    my ($self) = @_;
    my $handle = delete $self->{handle} or return;
    $self->{loop}->unwatch_io(handle => $handle, on_read_ready => 1) if $self->{reading};
    $self->{loop}->unwatch_io(handle => $handle, on_write_ready => 1) if $self->{writing};
    close $handle;
    return;
}

sub pause {
    my ($self) = @_;
    return if !$self->{handle} || !delete $self->{reading};
    $self->{loop}->unwatch_io(handle => $self->{handle}, on_read_ready => 1);
    return;
}

sub resume {
    my ($self) = @_;
    return if !$self->{handle} || $self->{reading}++;
    $self->{loop}->watch_io(handle => $self->{handle}, on_read_ready => sub { $self->read });
    return;
}

=head2 look

Takes what the application has written by now.

=cut

sub look {
    my ($self) = @_;
    $self->read if $self->{handle} && $self->{reading};
    return;
}

# read takes what the application has written.
sub read {
    my ($self) = @_;
    my $n = sysread $self->{handle}, my $bytes, READ_SIZE;
    return if !defined $n && ($! == EAGAIN || $! == EINTR);
    my $exchange = $self->{exchange};
    my @events = eval { $n ? $self->{upgrade}->from_app($bytes) : $self->{upgrade}->end_of_app };
    return $exchange->fail($@) if $@ ne '';
    if (!$n) {
        my $is_begun = @events || $self->{upgrade}{begun};
        $self->drop;
        return $exchange->unused if !$is_begun;
    }
    $self->send(@events);
    $exchange->finish if !$n && !$self->{waits};
    return;
}

# send passes on what the application has said. It stops reading while the client does not take it.
sub send {
    my ($self, @events) = @_;
    my $exchange = $self->{exchange};
    my ($sent, $is_last);
    for my $event (@events) {
        $self->{upgrade}{begun} = 1;
        if (defined $event->{reply}) { $self->write($event->{reply}); next }
        next if $self->{gone};
        $exchange->{started} = 1;
        $sent = $exchange->emit($event);
        return if $exchange->{over};
        $is_last = $event->{type} eq 'websocket.http.response.body' && !$event->{more};
    }
    return if !$sent || $sent->is_ready && !$is_last;
    $self->{waits} = 1;
    $self->pause;
    $exchange->after($sent, sub {
        delete $self->{waits};
        return $exchange->finish if $is_last || !$self->{handle};
        $self->resume;
    });
    return;
}

# receive waits for the next event of the client.
sub receive {
    my ($self) = @_;
    my $exchange = $self->{exchange};
    while (!$self->{gone} && !$exchange->{over} && $self->{out} eq '') {
        my $future = $exchange->{receive}->();
        if (!$future->is_ready) {
            $future->on_ready(sub {
                $self->pass($_[0]->get);
                $self->receive;
            });
            return;
        }
        $self->pass($future->get);
    }
    return;
}

# pass writes an event of the client for the application.
sub pass {
    my ($self, $event) = @_;
    if (!$self->{handle}) {    # the application has declined, or closed its end
        $self->{exchange}->leave if $event->{type} ne 'websocket.receive';
        return;
    }
    $self->{gone} = 1 if $event->{type} ne 'websocket.receive';
    $self->write($self->{upgrade}->to_app($event));
    $self->hang_up if $self->{gone} && $self->{handle} && $self->{out} eq '';
    return;
}

sub write {
    my ($self, $bytes) = @_;
    $self->{out} .= $bytes;
    $self->flush if $self->{handle} && !$self->{writing};
    return;
}

sub flush {
    my ($self) = @_;
    while ($self->{out} ne '') {
        my $n = syswrite $self->{handle}, $self->{out};
        if (defined $n) { substr $self->{out}, 0, $n, ''; next }
        next if $! == EINTR;
        if ($! != EAGAIN) {    # the application has closed its end, which reading tells
            $self->{out} = '';
            last;
        }
        $self->{loop}->watch_io(handle => $self->{handle}, on_write_ready => sub { $self->flush }) if !$self->{writing}++;
        return;
    }
    return if !$self->{writing};
    $self->{loop}->unwatch_io(handle => $self->{handle}, on_write_ready => 1);
    delete $self->{writing};
    return $self->hang_up if $self->{gone};
    $self->receive;
    return;
}

# hang_up ends what the application reads. What it still writes goes nowhere, until it closes its end or the time is over.
sub hang_up {
    my ($self) = @_;
    my ($handle, $loop, $exchange) = (delete $self->{handle}, @$self{qw(loop exchange)});
    $loop->unwatch_io(handle => $handle, on_read_ready => 1) if $self->{reading};
    shutdown $handle, 1;
    my $timer;
    my $end = sub {
        my $open = $handle or return;
        undef $handle;
        $loop->unwatch_io(handle => $open, on_read_ready => 1);
        $loop->unwatch_time($timer);
        undef $timer;    # which holds this code
        close $open;
    };
    $timer = $loop->watch_time(after => LINGER, code => $end);
    $loop->watch_io(handle => $handle, on_read_ready => sub {
        my $n = sysread $handle, my $bytes, READ_SIZE;
        $end->() if !$n && !(!defined $n && ($! == EAGAIN || $! == EINTR));
    });
    $exchange->leave;
    return;
}

1;
