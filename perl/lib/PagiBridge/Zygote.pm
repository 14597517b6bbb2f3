package PagiBridge::Zygote;

use strict;
use warnings;

use Errno qw(EINTR);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK O_WRONLY);
use POSIX ();

use PagiBridge::Errors ();
use PagiBridge::Sockets ();
use PagiBridge::Wire qw(:frames frame parse_frames unpack_pairs);

=head1 NAME

PagiBridge::Zygote - the process that has loaded the application and forks the workers

=head1 SYNOPSIS

    my $gateway = PagiBridge::Worker->connect($path, $token, role => 'zygote');
    my $zygote  = PagiBridge::Zygote->new($gateway);
    my $app     = load_the_application();
    $gateway->ready;
    my $self = $zygote->run;     # returns in every child, and only there
    my $worker = PagiBridge::Worker->connect($path, $self->{token});

=head1 DESCRIPTION

Forks when the gateway asks for it, and reports the children that have ended. A child
returns from C<run> as a process of its own: the leader of a process group, with its
own standard output and error, random numbers, and the signal handlers that the
application has set up.

Everything that belongs to one worker must be made after that.

=cut

# A child may end in the very moment in which this process goes to sleep. It is then noticed
# after this many seconds.
use constant NAP => 1;

=head1 METHODS

=head2 new($gateway)

To be called before the application is loaded. It notes the files of the standard output and
error. A child later replaces these, and leaves alone what the application has put in their
place.

=cut

sub new {
    my ($class, $gateway) = @_;
    return bless {
        gateway  => $gateway,
        outputs  => [map { identity($_) } 1, 2],
        children => {},
        in       => '',
    }, $class;
}

# identity returns a text that is equal for two descriptors of the same file.
sub identity {
    my ($fd) = @_;
    my ($device, $inode) = POSIX::fstat($fd) or return '';
    return "$device:$inode";
}

=head2 run

Serves the gateway until that tells it to stop or goes away. The process then exits. In a child
C<run> returns a hash with what the gateway has said about the child: C<token>, C<worker>,
C<output>.

=cut

sub run {
    my ($self) = @_;
    my $socket = $self->{gateway}{socket};
    $self->{on_child} = $SIG{CHLD};    # what the application wants, for the children
    $SIG{CHLD} = sub { };              # interrupts select
    while (1) {
        $self->report_ended;
        my $bits = '';
        vec($bits, fileno $socket, 1) = 1;
        next if select($bits, undef, undef, %{ $self->{children} } ? NAP : undef) < 1;
        my $n = sysread $socket, $self->{in}, 65536, length $self->{in};
        next   if !defined $n && $! == EINTR;
        exit 0 if !$n;
        for my $frame (parse_frames(\$self->{in})) {
            my $type = unpack 'x8 C', $frame;
            exit 0 if $type == DRAIN;
            die sprintf "wire: unknown frame type 0x%02x from the gateway\n", $type if $type != FORK;
            my $child = $self->fork_worker(substr $frame, HEADER_SIZE);
            return $child if $child;
        }
    }
}

# report_ended reports the children that have ended to the gateway. The application may have
# left children of its own, which are only reaped.
sub report_ended {
    my ($self) = @_;
    while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) {
        next if !delete $self->{children}{$pid};
        $self->{gateway}->write_now(frame(EXITED, 0, 0, pack 'N N', $pid, $?));
    }
    return;
}

# fork_worker returns the child's configuration in the child, and nothing in the zygote.
sub fork_worker {
    my ($self, $payload) = @_;
    my @pairs = unpack_pairs($payload);
    pop @pairs;
    my %config = @pairs;
    $self->look_at_sockets;
    my ($pid, $go, $wait);
    if (!pipe($wait, $go) || !defined($pid = fork)) {
        $self->{gateway}->write_now(frame(FORKED, 0, 0, pack 'N N/a* a*', 0, $config{token}, "$!"));
        return;
    }
    if (!$pid) {
        close $go;
        return $self->become_worker(\%config, $wait);
    }
    close $wait;
    POSIX::setpgid($pid, $pid);    # fails when the child has ended, and nothing is to be done
    $self->{children}{$pid} = 1;
    $self->{gateway}->write_now(frame(FORKED, 0, 0, pack 'N N/a*', $pid, $config{token}));
    local $SIG{PIPE} = 'IGNORE';
    syswrite $go, '.';
    return;
}

# become_worker makes the child an independent process, as soon as the gateway knows of it.
sub become_worker {
    my ($self, $config, $wait) = @_;
    my $n;
    do { $n = sysread $wait, my $byte, 1 } until defined $n || $! != EINTR;
    POSIX::_exit(0) if !$n;    # the zygote has died; nobody knows this process
    close $wait;
    close $self->{gateway}{socket};
    local $@;
    if (!eval { $self->redirect($config->{output}); 1 }) {
        PagiBridge::Errors::plainly("cannot open the worker's output: $@");    # to the zygote's
        POSIX::_exit(1);
    }
    $SIG{CHLD} = defined $self->{on_child} ? $self->{on_child} : 'DEFAULT';
    srand;
    $self->release_handles;
    return $config;
}

# redirect puts the worker's output in the place of the zygote's, wherever the
# application has a copy of that.
sub redirect {
    my ($self, $path) = @_;
    my $fd = POSIX::open($path, O_WRONLY | O_NONBLOCK);    # fails without a reader
    die "$path: $!\n" if !defined $fd;
    open my $out, '>&=', $fd or die "$path: $!\n";
    my $flags = fcntl $out, F_GETFL, 0 or die "$path: $!\n";
    fcntl $out, F_SETFL, $flags & ~O_NONBLOCK or die "$path: $!\n";
    my %is_output = map { $_ => 1 } grep { $_ ne '' } @{ $self->{outputs} };
    for my $copy (1, 2, grep { $_ > 2 } PagiBridge::Sockets::descriptors()) {
        next if $copy == $fd || !$is_output{ identity($copy) };
        defined POSIX::dup2($fd, $copy) or die "$path: $!\n";
    }
    close $out;
    return;
}

# release_handles keeps the end of this process from closing the database connections of the
# zygote. The handles still must not be used here.
sub release_handles {
    return if !$INC{'DBI.pm'} || !DBI->can('visit_handles');
    DBI->visit_handles(sub {
        my ($handle) = @_;
        if ($handle->{Type} ne 'dr') {
            $handle->{AutoInactiveDestroy} = 1;
            $handle->{InactiveDestroy}     = 1;
        }
        return 1;    # and its children
    });
    return;
}

# look_at_sockets warns, once, of connections that all workers will share.
sub look_at_sockets {
    my ($self) = @_;
    return if $self->{looked}++;
    my @places = PagiBridge::Sockets::places(fileno $self->{gateway}{socket});
    return if !@places;
    my $what = @places == 1 ? 'a socket' : @places . ' sockets';
    return $self->{gateway}->log(LOG_WARN, "the application has opened $what while it was loaded: "
        . join(', ', @places) . '. All workers share what was opened before they were forked;'
        . ' open it in PagiBridge::after_fork, or turn preload off.');
}

1;
