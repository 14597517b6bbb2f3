package PagiBridge::Worker;

use strict;
use warnings;

use Errno qw(EINTR);
use Time::HiRes qw(time);

use PagiBridge         ();
use PagiBridge::Errors ();
use PagiBridge::Wire qw(:frames check_length frame pack_pairs unpack_pairs unpack_strings);

=head1 NAME

PagiBridge::Worker - one worker process: a socket to the gateway and a handler

=head1 SYNOPSIS

    my $worker = PagiBridge::Worker->connect($socket_path, $token);
    my $handler = PagiBridge::PSGI->new(app => $app);
    $worker->ready;
    $worker->run($handler);

=head1 DESCRIPTION

Reads request frames from the gateway, gives them to the handler one after another, and writes
each answer as soon as it is there. Under load the gateway sends several requests at once.
After a slow one the worker looks whether the gateway has taken back the requests that wait
behind it.

=cut

use constant {
    READ_SIZE => 256 * 1024,
    PLACE_END => HEADER_SIZE + 2,
    # The gateway waits 5 ms before it takes requests back.
    SLOW => 0.002,
};

=head1 METHODS

=head2 connect($path, $token, @info)

Connects to the gateway's socket, sends HELLO, with C<@info> beside the pairs that every worker
gives, and waits for the answer. Dies if the gateway refuses this process.

=cut

sub connect {
    my ($class, $path, $token, @info) = @_;
    return $class->new(connected($path))->hello($token, @info);
}

# connected returns a socket that is connected to a Unix socket. Socket.pm takes nearly a
# megabyte in every worker. So on Linux the socket is made without that module, where the
# numbers are the usual ones.
sub connected {
    my ($path) = @_;
    my $socket;
    return $socket
        if $^O eq 'linux' && socket($socket, 1, 1, 0) && CORE::connect($socket, pack 'S Z*', 1, $path);
    require Socket;
    socket($socket, Socket::PF_UNIX(), Socket::SOCK_STREAM(), 0) && CORE::connect($socket, Socket::pack_sockaddr_un($path))
        or die "cannot connect to the gateway at $path: $!\n";
    return $socket;
}

sub new {
    my ($class, $socket) = @_;
    my $in = '';
    return bless {
        socket    => $socket,
        pid       => $$,
        in        => \$in,    # bytes read
        at        => 0,       # how many of them have been taken up
        out       => '',      # frames made, not yet all written
        written   => 0,       # how much of them has been
        taken     => {},      # streams the gateway has taken back
        names     => [],      # the lists of names the gateway has told
        stream    => 0,       # the stream being served, 0 for none
        began     => 0,       # when its request did, or a little earlier
        cancelled => 0,       # the client of that stream has gone
        draining  => 0,       # the gateway wants it to end
        exiting   => 0,       # it has said itself that it ends
        paths     => 1,       # a file may be named by its path
        descriptors => 0,     # a file may be attached to its frame
        counts      => 0,     # what the application counts may be told
    }, $class;
}

sub hello {
    my ($self, $token, %info) = @_;
    my $features = $info{role} ? 'fork' : 'requests paths counts';
    $self->write_now(frame(HELLO, 0, 0, pack 'n n N N/a* a*', VERSION, VERSION, $$, $token,
        pack_pairs(features => $features, runtime => 'perl', version => sprintf('%vd', $^V), %info)));
    my $answer = $self->next_frame;
    my $type   = unpack 'x8 C', $answer;
    die 'the gateway has refused this process: ' . substr($answer, HEADER_SIZE) . "\n" if $type == REFUSED;
    die "wire: no WELCOME\n" if $type != WELCOME || length $answer < HEADER_SIZE + 10;
    my @pairs = unpack_pairs(substr $answer, HEADER_SIZE + 6);
    pop @pairs;
    my %peer = @pairs;
    $self->agree({ map { $_ => 1 } split ' ', defined $peer{features} ? $peer{features} : '' });
    $PagiBridge::shared = $peer{shared};
    return $self;
}

# agree notes which features are in use.
sub agree {
    my ($self, $features) = @_;
    $self->{$_} = $features->{$_} ? 1 : 0 for qw(paths descriptors counts);
    PagiBridge::recount() if $self->{counts};
    return;
}

# next_frame waits for a whole frame. This process ends if the gateway goes before that.
sub next_frame {
    my ($self) = @_;
    my $in = $self->{in};
    while (1) {
        my $length = length $$in < HEADER_SIZE ? undef : unpack 'N', $$in;
        if (defined $length) {
            check_length($length);
            return substr $$in, 0, HEADER_SIZE + $length, '' if length $$in >= HEADER_SIZE + $length;
        }
        $self->fill or exit 0;
    }
}

=head2 ready

Tells the gateway that the application is loaded.

=cut

sub ready { $_[0]->write_now(frame(READY, 0, 0, '')) }

=head2 failed($message)

Tells the gateway that the application could not be loaded.

=cut

sub failed {
    my ($self, $message) = @_;
    utf8::encode($message) if utf8::is_utf8($message);
    return $self->write_now(frame(FAILED, 0, 0, substr $message, 0, MAX_MESSAGE));
}

=head2 run($handler)

Serves until the gateway tells it to stop or goes away. The handler's C<handle> method is
called with the worker, the values of a request, its flags and the names of the values, and
answers through the methods below.

=cut

# This loop runs for every request, so it avoids calls and copies where it can.
sub run {
    my ($self, $handler) = @_;
    my ($in, $taken, $lists) = @$self{qw(in taken names)};
    my ($at, $began) = (0, time);
    $self->tell_counts if $PagiBridge::uncounted;
    while (!$self->{exiting}) {
        my ($length, $stream, $type, $flags, $place) = unpack 'N N C C n', substr $$in, $at, PLACE_END;
        if (!defined $flags || $length > length($$in) - $at - HEADER_SIZE) {
            check_length($length) if defined $flags;
            $self->flush;
            substr $$in, 0, $at, '';
            $self->{at} = $at = 0;
            my $slow = time - $began > SLOW;
            return if $self->{draining} || !$self->fill;
            $self->heed if $slow;
            $self->{began} = $began = time;
            next;
        }
        die "wire: a request of $length bytes\n" if $length < 2 && ($type == REQUEST || $type == NAMES);
        my $payload = $length > 2 ? substr $$in, $at + PLACE_END, $length - 2 : '';
        $self->{at} = $at += HEADER_SIZE + $length;
        if ($type != REQUEST) {
            if    ($type == NAMES)  { $lists->[$place] = [unpack_strings($payload, 0), 'psgi.input'] }
            elsif ($type == CANCEL) { delete $taken->{$stream} }    # it was heeded, or came too late
            elsif ($type == DRAIN)  { $self->{draining} = 1 }
            else                    { die sprintf "wire: unknown frame type 0x%02x from the gateway\n", $type }
            next;
        }
        if (%$taken && delete $taken->{$stream}) {
            $self->write_now(frame(BODY, FIN, $stream, ''));
            next;
        }
        my $names = $lists->[$place] or die "wire: a request whose names are not known\n";
        $self->{stream}    = $stream;
        $self->{cancelled} = 0;
        $handler->handle($self, $payload, $flags, $names);
        $self->{stream} = 0;
        $self->tell_counts if $PagiBridge::uncounted;
        next if $at == length $$in;
        $self->flush;
        my $now = time;
        $self->poll if $now - $began > SLOW;
        $self->{began} = $began = $now;
    }
    $self->flush;
    return;
}

# fill waits for at least one more read. It returns false when the gateway has gone. A process that waits in sysread is
# woken each time the gateway reads what it was sent, too, because Linux then tells all who wait at a Unix socket that there
# is room in it. One that waits in select is not.
sub fill {
    my ($self) = @_;
    my $in = $self->{in};
    while (1) {
        my $bits = '';
        vec($bits, fileno $self->{socket}, 1) = 1;
        select $bits, undef, undef, undef;
        my $n = sysread $self->{socket}, $$in, READ_SIZE, length $$in;
        next if !defined $n && $! == EINTR;
        return $n ? 1 : 0;
    }
}

# poll reads the bytes that have arrived, without waiting, and heeds all that were read.
sub poll {
    my ($self) = @_;
    my $bits = '';
    vec($bits, fileno $self->{socket}, 1) = 1;
    return $self->heed if select($bits, undef, undef, 0) < 1 || $self->fill;
    $self->lost;
    my ($in, $at) = @$self{qw(in at)};
    substr $$in, $at, length($$in) - $at, '';
    return;
}

# heed looks in the bytes that were read for requests that the gateway has taken back. When that is the request being
# served, no client waits for its answer any more. When it is one that waits here, the worker must not begin it: it was
# given while a slow one was served, and may have been taken back before it was read.
sub heed {
    my ($self) = @_;
    my ($in, $at) = @$self{qw(in at)};
    while (length($$in) - $at >= HEADER_SIZE) {
        my ($length, $stream, $type) = unpack 'N N C', substr $$in, $at, HEADER_SIZE;
        if ($type == CANCEL) {
            if   ($stream == $self->{stream}) { $self->{cancelled} = 1 }
            else                              { $self->{taken}{$stream} = 1 }
        }
        $at += HEADER_SIZE + $length;
    }
    return;
}

=head2 put($bytes)

Queues frames behind the bytes that wait to be written.

=cut

sub put { $_[0]{out} .= $_[1]; return }

=head2 flush

Writes all that is queued.

=cut

sub flush {
    my ($self) = @_;
    leave() if $$ != $self->{pid};    # a child the application forked came back here
    while ($self->{written} < length $self->{out}) {
        my $before = $self->{written};
        # An application's signal handler may throw an exception through here, and
        # what has been written must have been counted then: perl looks for signals
        # between statements and in logical operators, of which there are none.
        no warnings 'uninitialized';
        $self->{written} += syswrite $self->{socket}, $self->{out}, length($self->{out}) - $before, $before;
        next if $self->{written} > $before || $! == EINTR;
        @$self{qw(out written)} = ('', 0);
        return $self->gone;
    }
    @$self{qw(out written)} = ('', 0);
    return;
}

# lost is called when the gateway has gone in the middle of a request, and gone when it takes no more bytes. There is
# no gateway to tell. END blocks still run.
sub lost {
    my ($self) = @_;
    $self->{draining} = $self->{cancelled} = 1;
    return;
}

sub gone { exit 0 }

# leave ends this process without the END blocks and destructors of a worker.
sub leave {
    require POSIX;
    POSIX::_exit(0);
}

=head2 write_now($bytes)

Queues and writes.

=cut

sub write_now { $_[0]{out} .= $_[1]; $_[0]->flush; return }

=head2 tell($bytes)

Writes frames to the process that has started this one.

=cut

sub tell { return $_[0]->write_now($_[1]) }

# tell_counts queues what the application has counted, for a gateway that takes it.
sub tell_counts {
    my ($self) = @_;
    return if !$self->{counts} || $$ != $self->{pid};
    $self->{out} .= frame(COUNT, 0, 0, $_) for PagiBridge::take_counts();
    return;
}

=head2 client_gone

True when the gateway has said that no client waits for the current answer any more.

=cut

sub client_gone {
    my ($self) = @_;
    $self->poll if !$self->{cancelled};
    return $self->{cancelled};
}

=head2 wait_for($handle)

Waits until the handle can be read. Returns false when the client has gone before that.

=cut

sub wait_for {
    my ($self, $handle) = @_;
    while (!$self->client_gone) {
        my $bits = '';
        vec($bits, fileno $_, 1) = 1 for $self->{socket}, $handle;
        my $n = select $bits, undef, undef, undef;
        next     if $n < 0 && $! == EINTR;
        return 1 if $n < 0 || vec $bits, fileno $handle, 1;    # reading tells of an error
    }
    return 0;
}

=head2 log($level, $text)

Sends a log record for the current stream at once, so that it arrives even if the process dies
next.

=cut

sub log {
    my ($self, $level, $text) = @_;
    utf8::encode($text) if utf8::is_utf8($text);
    if ($$ != $self->{pid}) {    # in a child that the application forked
        PagiBridge::Errors::plainly("$text\n");
        return;
    }
    return $self->write_now(frame(LOG, $level, $self->{stream}, substr $text, 0, MAX_MESSAGE));
}

=head2 exiting($reason)

Tells the gateway that this process ends after the current request, so that it
gets no more.

=cut

sub exiting {
    my ($self, $reason) = @_;
    $self->{exiting} = 1;
    return $self->put(frame(EXITING, 0, 0, $reason));
}

1;
