package PagiBridge::Listen;

use strict;
use warnings;

use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);

use PagiBridge::Wire qw(:frames check_length frame pack_pairs unpack_pairs);

=head1 NAME

PagiBridge::Listen - a socket at which a worker waits for gateways, and the greeting there

=head1 SYNOPSIS

    my $listen = PagiBridge::Listen->new($path, token => $token, user => 0, features => 'requests paths');

    # in any kind of loop, when $listen->socket can be read:
    my $socket = $listen->accept or next;      # does not wait
    my $in     = '';

    # when $socket can be read, for 5 seconds at most:
    sysread $socket, $in, 65536, length $in or close $socket;
    my ($answer, $terms) = $listen->greet($socket, \$in);
    next if !defined $answer;                  # HELLO is not complete yet
    syswrite $socket, $answer;                 # WELCOME and READY, or REFUSED
    close $socket if !$terms;

=head1 DESCRIPTION

The worker's side of sections 1 and 3 of F<bridge/wire/PROTOCOL.md> where the gateway dials. It never
waits and has no event loop, so that workers of every kind can use it.

A worker with an event loop makes the object once its application is loaded, and sends READY to its
keeper after that. It watches C<< $listen->socket >> for as long as it runs. Each connection that has
been greeted gets its own L<PagiBridge::Mux>:

    my $mux = PagiBridge::Mux->welcomed(peer => $terms->{peer}, on_scope => sub { ... });
    $mux->feed($in);    # what has come behind HELLO

The end of a connection ends the streams of that connection and no others. The worker ends when its
keeper says DRAIN or goes. Both come on the connection that the worker has dialled.

=head1 METHODS

=head2 new($path, %options)

Makes the socket, with mode 0600. C<token> is what a gateway must say. C<user> is the number of the user
whose processes may dial, beside root; that of this process by default. C<features> are those of the
worker, separated by spaces. C<paths> among them is offered only to a gateway of this process's own
user. C<info> are more pairs for WELCOME, as a reference to a list. Dies if the socket cannot be made.

=cut

sub new {
    my ($class, $path, %arg) = @_;
    my $self = bless {
        token    => $arg{token},
        user     => defined $arg{user} ? $arg{user} : $>,
        features => $arg{features},
        info     => $arg{info} || [],
        socket   => listening($path),
    }, $class;
    my $flags = fcntl $self->{socket}, F_GETFL, 0;
    fcntl $self->{socket}, F_SETFL, $flags | O_NONBLOCK or die "cannot listen at $path: $!\n";
    return $self;
}

# listening does without Socket.pm on Linux, as PagiBridge::Worker does, because of its memory.
sub listening {
    my ($path) = @_;
    my $socket;
    my $mask = umask 0177;
    my $ok;
    if ($^O eq 'linux') {
        $ok = socket($socket, 1, 1, 0) && bind($socket, pack 'S Z*', 1, $path);
    }
    else {
        require Socket;
        $ok = socket($socket, Socket::PF_UNIX(), Socket::SOCK_STREAM(), 0) && bind($socket, Socket::pack_sockaddr_un($path));
    }
    my $error = $!;
    umask $mask;
    ($ok && CORE::listen($socket, 8)) or die 'cannot listen for the gateway at ' . "$path: " . ($ok ? $! : $error) . "\n";
    return $socket;
}

=head2 socket

The listening socket, for C<select>. It does not block.

=cut

sub socket { return $_[0]{socket} }

=head2 accept

Returns the next connection, which blocks, or nothing while none waits.

=cut

sub accept {
    my ($self) = @_;
    CORE::accept(my $socket, $self->{socket}) or return;
    if ($^O ne 'linux') {    # elsewhere it is as the listening one
        my $flags = fcntl $socket, F_GETFL, 0;
        fcntl $socket, F_SETFL, $flags & ~O_NONBLOCK;
    }
    return $socket;
}

=head2 greet($socket, \$in)

Takes HELLO off the front of the bytes that were read. Returns nothing while HELLO is not complete.
Else it returns the bytes to write, and the terms if the gateway is welcome: a reference to a hash with
C<features>, a reference to a hash of those in use, and C<peer>, one of the gateway's pairs. After a
refusal the caller writes the bytes and closes the connection.

=cut

sub greet {
    my ($self, $socket, $in) = @_;
    return if length $$in < HEADER_SIZE;
    my ($length, undef, $type) = unpack 'N N C', $$in;
    return refusal('this is no HELLO') if $type != HELLO || $length > 1 << 20;
    return if length $$in < HEADER_SIZE + $length;
    my $hello = substr $$in, 0, HEADER_SIZE + $length, '';
    my ($least, $most, $token, %peer) = eval { hello(substr $hello, HEADER_SIZE) };
    return refusal('its HELLO does not add up') if !defined $token;
    my $problem = $self->problem($socket, $least, $most, $token);
    return refusal($problem) if defined $problem;

    my %offered = map { $_ => 1 } split ' ', defined $peer{features} ? $peer{features} : '';
    my @common = grep { $offered{$_} && ($_ ne 'paths' || $self->is_own($socket)) } split ' ', $self->{features};
    my %use = map { $_ => 1 } @common;
    my ($need) = $self->{features} =~ /\b(requests|scopes)\b/;
    return refusal("it has the features \"$peer{features}\", and this side needs \"$need\"") if $need && !$use{$need};
    # Not interpolated: the application may have changed the separator of lists.
    my $welcome = frame(WELCOME, 0, 0, pack 'n N a*', VERSION, $$,
        pack_pairs(features => join(' ', @common), runtime => 'perl', version => sprintf('%vd', $^V), @{ $self->{info} }));
    return ($welcome . frame(READY, 0, 0, ''), { features => \%use, peer => \%peer });
}

sub hello {
    my ($payload) = @_;
    die "wire: a short HELLO\n" if length $payload < 12;
    my ($least, $most, undef, $size) = unpack 'n n N N', $payload;
    die "wire: a short HELLO\n" if 12 + $size > length $payload;
    my @pairs = unpack_pairs(substr $payload, 12 + $size);
    pop @pairs;
    return ($least, $most, substr($payload, 12, $size), @pairs);
}

sub refusal { return (frame(REFUSED, 0, 0, $_[0]), undef) }

# problem says why a gateway is not welcome.
sub problem {
    my ($self, $socket, $least, $most, $token) = @_;
    return "it speaks the versions $least to $most of the protocol, and this side version ${\VERSION}"
        if $least > VERSION || $most < VERSION;
    my $user = user_of($socket);
    return "it is a process of user $user, and user $self->{user} is expected" if defined $user && $user && $user != $self->{user};
    return 'its token is another one' if $token ne $self->{token};
    return;
}

sub is_own {
    my ($self, $socket) = @_;
    my $user = user_of($socket);
    return defined $user && $user == $>;
}

# user_of returns the number of the peer's user, or undef where the system does not tell.
sub user_of {
    my ($socket) = @_;
    return if $^O ne 'linux';
    my $credentials = getsockopt $socket, 1, 17;    # SOL_SOCKET, SO_PEERCRED
    return if !defined $credentials || length $credentials != 12;
    return (unpack 'i I I', $credentials)[1];
}

1;
