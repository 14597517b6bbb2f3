package PagiBridge::PAGI::Link;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use Scalar::Util qw(weaken);

use PagiBridge::Mux    ();
use PagiBridge::PAGI::Transport ();
use PagiBridge::Wire qw(:frames frame);
use PagiBridge::Worker ();

=head1 NAME

PagiBridge::PAGI::Link - a connection of a worker with an event loop

=head1 SYNOPSIS

    my $link = PagiBridge::PAGI::Link->connect($path, token => $token, on_scope => sub { my ($stream, $link) = @_; ... });
    $link->mux->failed('no such file');
    $link->finish;          # writes all, and waits
    $link->attach($loop);   # from now on the loop reads and writes
    $link->touch;           # something is to be written

=head1 DESCRIPTION

A L<PagiBridge::Mux> with a socket. What is to be written is written once in each turn of the loop.

=head1 METHODS

=head2 connect($path, %options)

Connects to the process that has started the worker, greets, and waits for WELCOME. The options are those of
L<PagiBridge::Mux>, whose C<on_scope> also gets the link.

=head2 welcomed($socket, %options)

The same for a connection that a gateway has dialled and that was greeted; see C<welcomed> of L<PagiBridge::Mux>.

=cut

use constant READ_SIZE => 256 * 1024;

my $made = 0;    # how many links there have been

sub connect {
    my ($class, $path, %options) = @_;
    my $self = $class->new(PagiBridge::Worker::connected($path));
    $self->{mux} = PagiBridge::Mux->new($self->options(%options));
    while (!$self->{mux}->peer) {
        $self->finish;
        $self->fill or $self->gone;
    }
    return $self->agreed;
}

sub welcomed {
    my ($class, $socket, %options) = @_;
    my $self = $class->new($socket);
    $self->{mux} = PagiBridge::Mux->welcomed($self->options(%options));
    return $self->agreed;
}

sub new {
    my ($class, $socket) = @_;
    return bless {
        socket => $socket,
        loop   => undef,
        asked  => 0,    # a write is due
        writes => 0,    # the loop tells when the socket can be written
        # mux; low and paths, see agreed; on_gone and is_gone
    }, $class;
}

sub options {
    my ($self, %options) = @_;
    my $on_scope = $options{on_scope};
    weaken(my $link = $self);
    $options{on_scope} = sub { $on_scope->($_[0], $link) } if $on_scope;
    return %options;
}

# agreed notes what the greeting has brought: the low mark of pagi.transport, whether files go by their paths, and whether
# counts are taken.
sub agreed {
    my ($self) = @_;
    my $peer = $self->{mux}->peer;
    (undef, $self->{low}) = PagiBridge::PAGI::Transport::marks($peer->{window});
    for my $feature (qw(paths counts)) {
        $self->{$feature} = grep { $_ eq $feature } split / /, $peer->{features};
    }
    $self->{number} = ++$made;
    $PagiBridge::shared = $peer->{shared} if defined $peer->{shared};    # the keeper has none
    return $self;
}

=head2 mux

The L<PagiBridge::Mux>.

=head2 on_gone($code)

Sets what is called, once, when the other side has gone. Without it the process then ends.

=cut

sub mux { return $_[0]{mux} }

sub on_gone { $_[0]{on_gone} = $_[1]; return }

sub gone {
    my ($self) = @_;
    return if $self->{is_gone}++;
    my $code = delete $self->{on_gone} or exit 0;
    if (my $loop = delete $self->{loop}) {
        $loop->unwatch_io(handle => $self->{socket}, on_read_ready => 1, $self->{writes} ? (on_write_ready => 1) : ());
    }
    $self->{asked} = 1;    # nothing is written any more
    close $self->{socket};
    $code->($self);
    return;
}

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

Writes all there is, and waits meanwhile.

=cut

sub finish {
    my ($self) = @_;
    my ($mux, $socket) = @$self{qw(mux socket)};
    return if $self->{is_gone};
    while (${ $mux->out } ne '') {
        my $n = syswrite $socket, ${ $mux->out };
        if (defined $n) { $mux->written($n); next }
        next if $! == EINTR;
        return $self->gone if $! != EAGAIN;
        vec(my $bits = '', fileno $socket, 1) = 1;
        select undef, $bits, undef, undef;
    }
    return;
}

=head2 attach($loop, $idle)

Has the loop read and write. C<$idle>, if given, is called after each turn in which something was read.

=cut

sub attach {
    my ($self, $loop, $idle) = @_;
    $self->{loop} = $loop;
    my $flags = fcntl $self->{socket}, F_GETFL, 0 or die "fcntl: $!\n";
    fcntl $self->{socket}, F_SETFL, $flags | O_NONBLOCK or die "fcntl: $!\n";
    $loop->watch_io(handle => $self->{socket}, on_read_ready => sub {
        $self->{asked} = 1;    # writing follows at once
        my $is_there = eval { $self->fill };
        $self->broken($@) if !defined $is_there;
        $self->write;
        return $self->gone if !$is_there;
        $idle->() if $idle;
    });
    return;
}

# broken ends the process whose peer does not keep to the protocol. The reactors of some loops make a warning of an exception.
sub broken {
    my ($self, $error) = @_;
    die $error if $error !~ /\Awire: /;
    warn $error;
    exit 1;
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
    return if $self->{is_gone};
    $self->{asked} = 0;
    while (${ $mux->out } ne '') {
        my $n = syswrite $socket, ${ $mux->out };
        if (defined $n) { $mux->written($n); next }
        next if $! == EINTR;
        return $self->gone if $! != EAGAIN;
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
