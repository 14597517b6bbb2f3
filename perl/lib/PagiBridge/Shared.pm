package PagiBridge::Shared;

use strict;
use warnings;

use Fcntl qw(F_GETFL F_SETFL F_GETFD F_SETFD O_NONBLOCK FD_CLOEXEC);
use Time::HiRes ();

use PagiBridge         ();
use PagiBridge::Worker ();

=head1 NAME

PagiBridge::Shared - asks the gateway for what the processes of a site share

=head1 SYNOPSIS

    my ($result, $payload) = PagiBridge::Shared::answer_of(PagiBridge::Shared::GET, pack 'N/a*', $key);

=head1 DESCRIPTION

The functions of L<PagiBridge> and the methods of L<PagiBridge::Cache> use this module; applications do not. It connects to
the gateway at the first call, and again in a forked process, or when another gateway has come. The protocol is that of
F<internal/shared/PROTOCOL.md>.

=cut

use constant {
    HELLO   => 1,
    GET     => 2,
    SET     => 3,
    DELETE  => 4,
    ADD     => 5,
    CLEAR   => 6,
    LOCK    => 7,
    UNLOCK  => 8,
    PUBLISH => 9,
};

use constant {
    OK        => 0,
    NO        => 1,
    ERROR     => 2,
    HEAD      => 9,
    PATIENCE  => 1,                  # seconds for an answer
    QUIET     => 10,                 # seconds between two warnings
    MAX_FRAME => 32 * 1024 * 1024,
};

my $current;     # the connection
my $warned = 0;  # when the last warning was

=head1 FUNCTIONS

=head2 is_alone

True in a process that no gateway has started: then L<PagiBridge::Shared::Alone> does what can be done.

=cut

sub is_alone { return !$PagiBridge::runtime && !defined address() }

# address is where the gateway is: it tells its workers, and other programs by a variable.
sub address { return defined $PagiBridge::shared ? $PagiBridge::shared : $ENV{PAGI_BRIDGE_SHARED} }

=head2 answer_of($call, $payload, $wait), answer_by($connection, $call, $payload)

Make a call and wait for the answer, for a second and C<$wait> more. They return the result and its payload. Without an answer
they warn, and return nothing. They die if the gateway says that the call was wrong. C<answer_by> asks on the connection that
C<latest> has returned, of which undef stands for this process alone.

=cut

sub answer_of {
    my ($call, $payload, $wait) = @_;
    my $until = Time::HiRes::time() + PATIENCE + ($wait || 0);
    return is_alone() ? alone($call, $payload) : tried(sub { return connection($until)->call($call, $payload, $until) });
}

sub answer_by {
    my ($connection, $call, $payload) = @_;
    return alone($call, $payload) if !$connection;
    return tried(sub { return $connection->call($call, $payload, Time::HiRes::time() + PATIENCE) });
}

sub latest { return $current }

sub alone {
    PagiBridge::needs('PagiBridge/Shared/Alone.pm');
    return checked(PagiBridge::Shared::Alone::ask(@_));
}

# tried returns what the code returns, and nothing if the gateway cannot be reached.
sub tried {
    my ($code) = @_;
    local $@;
    my @answer = eval { local $SIG{PIPE} = 'IGNORE'; $code->() };
    my $error = $@;
    return checked(@answer) if @answer;
    die $error if $error !~ /\Ashared: /;    # of a handler of a signal
    trouble($error);
    return;
}

# checked returns an answer, and dies of one that tells of a wrong call.
sub checked {
    my ($result, $payload) = @_;
    return ($result, $payload) if $result != ERROR;
    my $up = 1;
    $up++ while (caller $up)[0] =~ /\APagiBridge(?:::(?:Shared|Cache|Lock)(?:::.*)?)?\z/;
    my (undef, $file, $line) = caller $up;
    die "PagiBridge: $payload at $file line $line.\n";
}

=head2 publish($channel, $message, %options)

That of L<PagiBridge>.

=cut

use constant { MAX_MESSAGE => 1 << 20, PUBLISH_TIME => 5 };

sub publish {
    my ($channel, $message, %options) = @_;
    my ($event, $binary, $future) = map { my $o = delete $options{$_}; defined $o ? $o : '' } qw(event binary future);
    wrong('publish', 'the options event, binary and future, and not ' . (sort keys %options)[0]) if %options;
    wrong('publish', 'a channel and a message') if grep { !defined || ref } $channel, $message;
    $_ = encoded($_) for $channel, $event;
    if    (!$binary)                        { $message = encoded($message) }
    elsif (!utf8::downgrade($message, 1))   { wrong('publish', 'a binary message of bytes') }
    wrong('publish', 'a message of at most 1 MiB') if length $message > MAX_MESSAGE;
    my $payload = pack 'C (N/a*)3', $binary ? 1 : 0, $channel, $event, $message;
    my $read = sub {
        my ($result, $id) = @_;
        return $id if $result == OK;
        trouble("shared: $id\n") if length $id;
        return;
    };
    if ($future) {
        PagiBridge::needs('PagiBridge/Shared/Loop.pm');
        return PagiBridge::Shared::Loop::ask(PUBLISH, $payload, PUBLISH_TIME, $read, undef);
    }
    my ($result, $id) = answer_of(PUBLISH, $payload, PUBLISH_TIME);
    return if !defined $result;
    return scalar $read->($result, $id);
}

# encoded returns text as UTF-8. Bytes that are UTF-8 already stay as they are; others are Latin-1.
sub encoded {
    my ($text) = @_;
    my $copy = "$text";
    utf8::encode($text) if utf8::is_utf8($text) || !utf8::decode($copy);
    return $text;
}

sub wrong {
    my ($function, $what) = @_;
    my (undef, $file, $line) = caller 2;
    die "PagiBridge::$function wants $what at $file line $line.\n";
}

=head2 loud

Has the next trouble cause a warning, whenever the last one was.

=cut

sub loud { $warned = 0; return }

# trouble warns, now and then.
sub trouble {
    my ($error) = @_;
    my $now = time;
    return if $now - $warned < QUIET;
    $warned = $now;
    $error =~ s/\Ashared: //;
    warn "PagiBridge: what the processes share cannot be used: $error";
    return;
}

# connection returns the connection of this process to the gateway of this moment.
sub connection {
    my ($until) = @_;
    my $address = address();
    die "shared: no gateway has connected to this process yet\n" if !defined $address;
    if ($current) {
        return $current if $current->{address} eq $address && $current->{pid} == $$ && !$current->{broken};
        undef $current;                  # guards of locks may still have it
    }
    my $new = __PACKAGE__->new($address);
    my ($result, $why) = $new->call(HELLO, $new->{token}, $until);
    die "shared: $why\n" if $result != OK;
    return $current = $new;
}

=head1 METHODS

A connection is an object of this class.

=cut

sub new {
    my ($class, $address) = @_;
    my ($path, $token) = $address =~ /\A(.+) ([0-9a-f]+)\z/ or die "shared: the address \"$address\" is none\n";
    my $socket = eval { PagiBridge::Worker::connected($path) } or die "shared: $@";
    fcntl $socket, F_SETFL, O_NONBLOCK | fcntl $socket, F_GETFL, 0;
    fcntl $socket, F_SETFD, FD_CLOEXEC | fcntl $socket, F_GETFD, 0;
    return bless {
        socket  => $socket,
        address => $address,
        token   => $token,
        pid     => $$,
        in      => '',
        id      => 0,
        wanted  => {},    # answers that are waited for, by the ids of their calls
        answers => {},    # those that are here
        late    => {},    # calls for locks that were given up: the names of the locks
        broken  => 0,
    }, $class;
}

=head2 call($call, $payload, $until)

Makes a call, and returns its result and payload. Dies at the time C<$until>, or when the connection is lost.

=cut

sub call {
    my ($self, $call, $payload, $until) = @_;
    my $id = $self->send_call($call, $payload, $until);
    $self->{wanted}{$id} = 1;
    my $ok = eval {
        $self->read_some($until) while !$self->{answers}{$id};
        1;
    };
    delete $self->{wanted}{$id};
    my $answer = delete $self->{answers}{$id};
    if (!$answer) {
        $self->{late}{$id} = substr $payload, 20 if $call == LOCK && !$self->{broken};
        die $ok ? "shared: no answer\n" : $@;
    }
    return @$answer;
}

sub send_call {
    my ($self, $call, $payload, $until) = @_;
    my $id = $self->{id} = $self->{id} + 1 & 0xffffffff;
    my $frame = pack 'N N C a*', 5 + length $payload, $id, $call, $payload;
    my $at = 0;
    $self->{broken} = 1;    # in case of an exception in the middle of a frame
    while ($at < length $frame) {
        my $n = syswrite $self->{socket}, $frame, length($frame) - $at, $at;
        if    (defined $n)    { $at += $n }
        elsif ($!{EAGAIN})    { $self->await(1, $until) }
        elsif (!$!{EINTR})    { die "shared: the gateway has gone\n" }
    }
    $self->{broken} = 0;
    return $id;
}

# await waits until the socket can be read, or written.
sub await {
    my ($self, $writes, $until) = @_;
    while (1) {
        my $left = $until - Time::HiRes::time();
        die "shared: the gateway has not answered in time\n" if $left <= 0;
        my $bits = '';
        vec($bits, fileno $self->{socket}, 1) = 1;
        return if 0 < select $writes ? undef : $bits, $writes ? $bits : undef, undef, $left;
    }
}

sub read_some {
    my ($self, $until) = @_;
    $self->await(0, $until);
    $self->fill;
    return;
}

# fill reads what is there, and takes the answers up.
sub fill {
    my ($self) = @_;
    my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
    if (!$n) {
        return if !defined $n && ($!{EAGAIN} || $!{EINTR});
        $self->{broken} = 1;
        die "shared: the gateway has gone\n";
    }
    while (length $self->{in} >= HEAD) {
        my ($length, $id, $result) = unpack 'N N C', $self->{in};
        if ($length > MAX_FRAME || $length < 5) {
            $self->{broken} = 1;
            die "shared: the gateway answers nonsense\n";
        }
        last if length $self->{in} < 4 + $length;
        my $payload = substr substr($self->{in}, 0, 4 + $length, ''), HEAD;
        $self->take($id, $result, $payload);
    }
    return;
}

sub take {
    my ($self, $id, $result, $payload) = @_;
    if ($self->{wanted}{$id}) {
        $self->{answers}{$id} = [$result, $payload];
    }
    elsif (defined(my $name = delete $self->{late}{$id})) {
        $self->send_call(UNLOCK, pack('a8 N/a*', $payload, $name), Time::HiRes::time() + PATIENCE) if $result == OK;
    }
    return;
}

1;
