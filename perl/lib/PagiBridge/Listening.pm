package PagiBridge::Listening;

use strict;
use warnings;

use Errno ();
use Time::HiRes qw(time);

use PagiBridge::Listen ();
use PagiBridge::Wire qw(:frames frame parse_frames);
use PagiBridge::Worker ();

our @ISA = 'PagiBridge::Worker';

=head1 NAME

PagiBridge::Listening - a worker that gateways dial, one after another

=head1 SYNOPSIS

    my $worker = PagiBridge::Listening->connect($socket_path, $token);    # to its keeper
    my $app = load_the_application();
    $worker->listen($path, $token, $user);
    $worker->ready;
    $worker->run($handler);

=head1 DESCRIPTION

A L<PagiBridge::Worker> whose connection to the process that has started it, its keeper, carries no
requests. Requests come from a gateway that has dialled. The worker serves one gateway to the end of its
connection, and then the next one. A gateway that dies costs the request that the worker was busy with:
its answer is dropped, and the application notices as if its client had gone.

While a gateway is connected, the worker waits for that gateway alone. So the gateway relays the keeper's
DRAIN. Between gateways the worker waits for the next one and for its keeper, and exits when the keeper
says DRAIN or goes.

=head1 METHODS

=head2 connect($path, $token, @info)

Connects to the keeper.

=cut

sub new {
    my ($class, $socket) = @_;
    my $self = $class->SUPER::new($socket);
    @$self{qw(keeper lost told)} = ($socket, 0, '');
    return $self;
}

=head2 listen($path, $token, $user, $sendmsg)

Makes the socket for gateways. The token and the user are as in L<PagiBridge::Listen>. C<$sendmsg> is the
number of that system call on this machine, if it is known. Then files can be sent to gateways of another
user as descriptors; see L<PagiBridge::CGI::Kernel> for how.

=cut

sub listen {
    my ($self, $path, $token, $user, $sendmsg) = @_;
    $self->{sendmsg} = $sendmsg if $sendmsg && length(pack 'J', 0) == 8;
    my $features = 'requests paths counts' . ($self->{sendmsg} ? ' descriptors' : '');
    $self->{listen} = PagiBridge::Listen->new($path, token => $token, user => $user, features => $features);
    return;
}

=head2 run($handler)

Serves gateways until the keeper or a gateway says DRAIN, the keeper goes, or the worker has said itself
that it ends.

=cut

sub run {
    my ($self, $handler) = @_;
    while ($self->next_gateway) {
        $self->SUPER::run($handler);
        last if $self->{exiting} || $self->{draining} && !$self->{lost};
    }
    return;
}

# next_gateway waits for a gateway and takes its connection. It returns false when the keeper says DRAIN
# or has gone.
sub next_gateway {
    my ($self) = @_;
    my ($keeper, $listener) = ($self->{keeper}, $self->{listen}->socket);
    $self->{socket} = $keeper;    # for records
    @$self{qw(out written lost stream cancelled draining)} = ('', 0, 0, 0, 0, 0);
    while (1) {
        my $bits = '';
        vec($bits, fileno $_, 1) = 1 for $keeper, $listener;
        my $ready = select $bits, undef, undef, undef;
        return 0 if $ready < 0 && $!{EBADF};    # the application has closed descriptors that are not its own
        next     if $ready < 1;
        PagiBridge::Worker::leave() if $$ != $self->{pid};
        return 0 if vec($bits, fileno $keeper, 1) && !$self->hear_keeper;
        next     if !vec $bits, fileno $listener, 1;
        my $socket = $self->{listen}->accept or next;
        my ($in, $terms) = $self->welcome($socket);
        next if !$terms;
        $self->agree($terms->{features});
        $PagiBridge::shared = $terms->{peer}{shared};
        ${ $self->{in} } = $in;
        @$self{qw(socket at taken names began)} = ($socket, 0, {}, [], time);
        return 1;
    }
}

# hear_keeper reads what the keeper says. It returns false when this process is to end.
sub hear_keeper {
    my ($self) = @_;
    my $n = sysread $self->{keeper}, $self->{told}, 4096, length $self->{told};
    return $!{EINTR} if !defined $n;
    return 0         if !$n;
    for my $frame (parse_frames(\$self->{told})) {
        my $type = unpack 'x8 C', $frame;
        return 0 if $type == DRAIN;
        die sprintf "wire: unknown frame type 0x%02x from the keeper\n", $type;
    }
    return 1;
}

use constant GREET_TIME => 5;

# welcome greets a gateway. It returns what the gateway has sent behind its HELLO, and the terms; or
# nothing if the connection is of no use.
sub welcome {
    my ($self, $socket) = @_;
    my ($in, $until) = ('', time + GREET_TIME);
    while (1) {
        my $bits = '';
        vec($bits, fileno $socket, 1) = 1;
        my $left = $until - time;
        return if $left <= 0;
        next   if select($bits, undef, undef, $left) < 1;
        my $n = sysread $socket, $in, 65536, length $in;
        next   if !defined $n && $!{EINTR};
        return if !$n;
        my ($answer, $terms) = $self->{listen}->greet($socket, \$in);
        next if !defined $answer;
        my $written = syswrite $socket, $answer;    # it fits into an empty socket
        return if !$terms || !defined $written || $written < length $answer;
        return ($in, $terms);
    }
}

# lost is called when the gateway, or the keeper between two gateways, has gone.
sub lost {
    my ($self) = @_;
    exit 0 if fileno $self->{socket} == fileno $self->{keeper};
    @$self{qw(lost draining cancelled)} = (1, 1, 1);
    return;
}

sub gone { return $_[0]->lost }

=head2 tell($bytes)

Writes frames to the keeper.

=cut

sub tell {
    my ($self, $bytes) = @_;
    PagiBridge::Worker::leave() if $$ != $self->{pid};
    while (length $bytes) {
        my $n = syswrite $self->{keeper}, $bytes;
        if   (defined $n)     { substr $bytes, 0, $n, '' }
        elsif (!$!{EINTR})    { return }                     # it has gone, which this process notices in its turn
    }
    return;
}

=head2 attach($frame, $handle)

Writes a frame with a descriptor of the file of a handle attached to it, which has a position of its own.
Returns false if that cannot be done, and nothing is written then.

=cut

sub attach {
    my ($self, $frame, $handle) = @_;
    $self->flush;
    open my $fresh, '<', '/proc/self/fd/' . fileno $handle or return 0;
    my $vector  = pack 'J J', address($frame), length $frame;
    my $control = pack 'J i i i x4', 20, 1, 1, fileno $fresh;    # SOL_SOCKET, SCM_RIGHTS
    my $header  = pack 'J L x4 J J J J l x4', 0, 0, address($vector), 1, address($control), length $control, 0;
    my $n;
    do { $n = syscall $self->{sendmsg}, fileno $self->{socket}, $header, 0x4000 } while $n < 0 && $!{EINTR};    # MSG_NOSIGNAL
    return 0 if $n <= 0;
    $self->write_now(substr $frame, $n) if $n < length $frame;
    return 1;
}

sub address { return unpack 'J', pack 'p', $_[0] }

=head2 exiting($reason)

Tells the gateway and the keeper that this process ends after the current request.

=cut

sub exiting {
    my ($self, $reason) = @_;
    $self->SUPER::exiting($reason);
    return $self->tell(frame(EXITING, 0, 0, $reason));
}

1;
