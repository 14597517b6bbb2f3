package PagiBridge::PAGI::Link;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);

use PagiBridge::Mux    ();
use PagiBridge::Wire qw(:frames frame);
use PagiBridge::Worker ();

=head1 NAME

PagiBridge::PAGI::Link - the connection of a worker with an event loop to the gateway

=head1 SYNOPSIS

    my $link = PagiBridge::PAGI::Link->connect($path, token => $token, on_scope => sub { ... });
    $link->mux->failed('no such file');
    $link->finish;          # writes all, and waits
    $link->attach($loop);   # from now on the loop reads and writes
    $link->touch;           # something is to be written

=head1 DESCRIPTION

A L<PagiBridge::Mux> with a socket. What is to be written is written once in each turn of the loop.

=head1 METHODS

=head2 connect($path, %options)

Connects, greets, and waits for WELCOME. The options are those of L<PagiBridge::Mux>.

=cut

use constant READ_SIZE => 256 * 1024;

sub connect {
    my ($class, $path, %options) = @_;
    my $self = bless {
        socket => PagiBridge::Worker::connected($path),
        mux    => PagiBridge::Mux->new(%options),
        loop   => undef,
        asked  => 0,    # a write is due
        writes => 0,    # the loop tells when the socket can be written
    }, $class;
    while (!$self->{mux}->peer) {
        $self->finish;
        $self->fill or exit 0;
    }
    return $self;
}

sub mux { return $_[0]{mux} }

# fill reads once, and reports whether the gateway is still there.
sub fill {
    my ($self) = @_;
    my $n = sysread $self->{socket}, my $bytes, READ_SIZE;
    return $!{EAGAIN} || $!{EINTR} if !defined $n;
    return 0 if !$n;
    $self->{mux}->feed($bytes);
    return 1;
}

=head2 finish

Writes all there is, and waits meanwhile. The process ends if the gateway has gone.

=cut

sub finish {
    my ($self) = @_;
    my ($mux, $socket) = @$self{qw(mux socket)};
    while (${ $mux->out } ne '') {
        my $n = syswrite $socket, ${ $mux->out };
        if (defined $n) { $mux->written($n); next }
        next if $! == EINTR;
        exit 0 if $! != EAGAIN;
        vec(my $bits = '', fileno $socket, 1) = 1;
        select undef, $bits, undef, undef;
    }
    return;
}

=head2 attach($loop, $idle)

Has the loop read and write. C<$idle> is called after each turn in which something was read.

=cut

sub attach {
    my ($self, $loop, $idle) = @_;
    $self->{loop} = $loop;
    my $flags = fcntl $self->{socket}, F_GETFL, 0 or die "fcntl: $!\n";
    fcntl $self->{socket}, F_SETFL, $flags | O_NONBLOCK or die "fcntl: $!\n";
    $loop->watch_io(handle => $self->{socket}, on_read_ready => sub {
        $self->{asked} = 1;    # writing follows at once
        my $is_there = $self->fill;
        $self->write;
        exit 0 if !$is_there;
        $idle->();
    });
    return;
}

=head2 touch

To be called when there is something to write.

=cut

sub touch {
    my ($self) = @_;
    return if $self->{asked} || !$self->{loop};
    $self->{asked} = 1;
    $self->{loop}->later(sub { $self->write });
    return;
}

sub write {
    my ($self) = @_;
    my ($mux, $socket) = @$self{qw(mux socket)};
    $self->{asked} = 0;
    while (${ $mux->out } ne '') {
        my $n = syswrite $socket, ${ $mux->out };
        if (defined $n) { $mux->written($n); next }
        next if $! == EINTR;
        exit 0 if $! != EAGAIN;    # the gateway has gone
        return if $self->{writes}++;
        $self->{loop}->watch_io(handle => $socket, on_write_ready => sub { $self->write });
        return;
    }
    return if !$self->{writes};
    $self->{writes} = 0;
    $self->{loop}->unwatch_io(handle => $socket, on_write_ready => 1);
    return;
}

=head2 write_now($bytes)

Queues frames, for L<PagiBridge::Loaded>.

=cut

sub write_now {
    my ($self, $bytes) = @_;
    ${ $self->{mux}->out } .= $bytes;
    $self->touch;
    return;
}

1;
