package Plack::Handler::PagiBridge;

use strict;
use warnings;

use Errno qw(EINTR);
use File::Basename qw(dirname);
use File::Spec ();
use File::Temp ();
use IO::Handle ();
use IO::Socket::IP ();
use IO::Socket::UNIX ();
use POSIX ();

=head1 NAME

Plack::Handler::PagiBridge - runs an application of Plack under pagi-bridge

=head1 SYNOPSIS

    plackup -s PagiBridge app.psgi
    plackup -s PagiBridge --workers 4 --max-requests 1000 -p 8080 app.psgi
    PLACK_SERVER=PagiBridge prove -l t/

    use Plack::Loader;
    Plack::Loader->load('PagiBridge', port => 8080, workers => 4)->run($app);

=head1 DESCRIPTION

Starts the program C<pagi-bridge>, which serves the application of this process. The workers
are forked from this process, so the application may be any closure. It is loaded once, before
the fork, as with the gateway's C<preload>, so connections to databases must be opened in the
workers. To serve a site, run C<pagi-bridge app.psgi> without Plack.

C<pagi-bridge> is found by the option C<pagi_bridge>, the environment variable
C<PAGI_BRIDGE>, or in C<PATH>.

TERM and INT stop the gateway and with it this process. What workers print goes to the
standard output and error of this process.

=head1 OPTIONS

=over

=item host, port, listen, socket

Where to listen, as with other handlers. The default is port 5000 on all addresses.

=item pagi_bridge

The path of the program.

=item server_ready

Code that is called once the gateway takes connections, with a hash: C<host>, C<port>,
C<proto> and C<server_software>.

=item workers

The number of workers. The default is 1, as with Plack's own server, because tests and small
programs rely on the variables of one process.

=item others

Every other option is one of the program's flags: C<< max_requests => 100 >> is
C<--max-requests=100>. C<max_rss> has no effect here. C<daemonize> is refused.

=back

=cut

our $application;    # of the process that runs this handler, and of its workers

=head1 METHODS

=head2 new(%options)

=cut

sub new {
    my ($class, %options) = @_;
    die "Plack::Handler::PagiBridge: daemonize is not possible; run pagi-bridge by itself, or in the background\n"
        if $options{daemonize};
    return bless {%options}, $class;
}

=head2 run($app)

Serves until the gateway is stopped. Dies when it cannot be started, or fails.

=cut

sub run {
    my ($self, $app) = @_;
    local $application = $app;
    my $program = $self->program;
    my $dir     = File::Temp->newdir('pagi-plack-XXXXXX', TMPDIR => 1);
    my $control = IO::Socket::UNIX->new(Local => "$dir/control", Listen => 64)
        or die "Plack::Handler::PagiBridge: $dir/control: $!\n";
    my @arguments = $self->arguments("$dir/control");
    my $gateway;
    my $stopped = 0;
    local @SIG{qw(TERM INT)} = (sub { $stopped = 1; kill TERM => $gateway if $gateway }) x 2;
    local @SIG{qw(HUP USR1)} = map {
        my $name = $_;
        sub { kill $name => $gateway if $gateway }
    } qw(HUP USR1);
    local $SIG{CHLD} = 'DEFAULT';
    local $SIG{PIPE} = 'IGNORE';
    defined($gateway = fork) or die "Plack::Handler::PagiBridge: fork: $!\n";

    if (!$gateway) {
        @SIG{qw(TERM INT HUP USR1 PIPE)} = ('DEFAULT') x 5;
        exec { $program } $program, @arguments or print STDERR "$program: $!\n";
        POSIX::_exit(127);
    }
    kill TERM => $gateway if $stopped;    # by a signal that came before $gateway was set
    my $status = $self->attend($gateway, $control);
    return if $stopped || !$status;
    die "Plack::Handler::PagiBridge: $program ended with status " . ($status >> 8) . ($status & 127 ? ', signal ' . ($status & 127) : '') . "\n";
}

# program returns the path of pagi-bridge.
sub program {
    my ($self) = @_;
    for my $named (grep { defined && length } $self->{pagi_bridge}, $ENV{PAGI_BRIDGE}) {
        return File::Spec->rel2abs($named) if -f $named && -x _;
        die "Plack::Handler::PagiBridge: $named is no program that can be run\n";
    }
    for my $dir (File::Spec->path) {
        my $found = File::Spec->catfile($dir, 'pagi-bridge');
        return $found if -f $found && -x _;
    }
    die "Plack::Handler::PagiBridge: pagi-bridge is not in PATH; the environment variable PAGI_BRIDGE"
        . " or the option pagi_bridge may name it\n";
}

my %own = map { $_ => 1 } qw(host port listen socket pagi_bridge server_ready daemonize env);

sub arguments {
    my ($self, $control) = @_;
    my @arguments = (
        '--quiet', '--log-level=info', '--no-access-log', '--isolate=none',
        "--perl=$^X", '-I', lib(), '-M', __PACKAGE__ . "=worker,$control",
        '-e', __PACKAGE__ . '::application()',
    );
    push @arguments, "--env=$ENV{PLACK_ENV}" if defined $ENV{PLACK_ENV} && length $ENV{PLACK_ENV};
    push @arguments, map {"--listen=$_"} $self->places;
    my %flags = (defined $self->{min_workers} || defined $self->{max_workers} ? () : (workers => 1), %$self);
    for my $name (sort grep { !$own{$_} } keys %flags) {
        my $flag = $name;
        $flag =~ tr/_/-/;
        push @arguments, defined $flags{$name} ? "--$flag=$flags{$name}" : "--$flag";
    }
    return @arguments;
}

# lib returns the directory that this module was loaded from.
sub lib { return File::Spec->rel2abs(dirname(dirname(dirname(__FILE__)))) }

sub places {
    my ($self) = @_;
    return map { bracketed($_) } @{ $self->{listen} } if $self->{listen} && @{ $self->{listen} };
    return $self->{socket} if defined $self->{socket};
    my $host = defined $self->{host} ? $self->{host} : '';
    return bracketed("$host:" . (defined $self->{port} ? $self->{port} : 5000));
}

# bracketed puts an IPv6 address into brackets, because Plack::Runner joins "::1" and "5000" to
# "::1:5000".
sub bracketed {
    my ($place) = @_;
    return $place if $place !~ m{\A([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*):([0-9]+)\z};
    return "[$1]:$2";
}

# attend forks workers until the gateway has ended, and returns its status.
sub attend {
    my ($self, $gateway, $control) = @_;
    my %connection;    # of the process that the gateway has started, by the worker's pid
    my $ready = $self->{server_ready};
    while (1) {
        my $bits = '';
        vec($bits, fileno $control, 1) = 1;
        if (select($bits, undef, undef, 0.05) > 0 && (my $conn = $control->accept)) {
            my $pid = start_worker($conn, $control, values %connection);
            $connection{$pid} = $conn if $pid;
        }
        for my $pid (keys %connection) {
            next if waitpid($pid, POSIX::WNOHANG()) != $pid;
            syswrite delete $connection{$pid}, "$?\n";
        }
        if ($ready && $self->is_listening) {
            $ready->({
                host  => defined $self->{host} ? $self->{host} : 0, port => $self->{port},
                proto => 'http', server_software => 'pagi-bridge',
            });
            undef $ready;
        }
        my $ended = waitpid $gateway, POSIX::WNOHANG();
        next if !$ended;
        my $status = $ended == $gateway ? $? : 0;
        for my $pid (keys %connection) { kill TERM => $pid; waitpid $pid, 0 }
        return $status;
    }
}

sub is_listening {
    my ($self) = @_;
    my ($place) = $self->places;
    return -S $place if $place =~ m{/};
    my ($host, $port) = $place =~ /\A(.*):(\d+)\z/ or return 1;
    $host =~ s/\A\[(.*)\]\z/$1/;
    $host = '127.0.0.1' if $host eq '' || $host eq '*' || $host eq '0.0.0.0';
    $host = '::1' if $host eq '::';
    return !!IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => 1);
}

# import is called in the process that the gateway starts for a worker. That process never
# reaches its program.
sub import {
    my ($class, $what, $control) = @_;
    return if !defined $what || $what ne 'worker';
    stand_for_worker($control);
}

# stand_for_worker passes the gateway's configuration on to the process that runs the handler.
# It ends with the exit status of the worker that the handler forks.
sub stand_for_worker {
    my ($control) = @_;
    my $conn = IO::Socket::UNIX->new(Peer => $control) or die "$control: $!\n";
    binmode STDIN;
    my $configuration = do { local $/; readline STDIN };
    print {$conn} pack 'N/a*', pack 'N N/a* a*', $$, $0, $configuration;
    $conn->flush;
    my $status = readline $conn;
    POSIX::_exit(1) if !defined $status;    # the handler has gone
    my $signal = $status & 127;
    if ($signal) {
        $SIG{PIPE} = 'DEFAULT';
        kill $signal, $$;
    }
    POSIX::_exit($signal ? 1 : $status >> 8);
}

# start_worker forks a worker, in the process group of the process that stands for it.
sub start_worker {
    my ($conn, @others) = @_;
    my $message = read_message($conn);
    return if !defined $message;
    my ($stands, $script, $configuration) = unpack 'N N/a* a*', $message;
    my $pid = fork;
    return if !defined $pid;
    POSIX::setpgid($pid || $$, $stands);    # fails when it has ended, and nothing is to be done
    return $pid if $pid;
    close $_ for $conn, @others;
    @SIG{qw(TERM INT HUP USR1 PIPE CHLD)} = ('DEFAULT') x 6;
    srand;
    become_worker($script, $configuration);
    exit 0;
}

sub read_message {
    my ($conn) = @_;
    my $message = '';
    while (length $message < 4 || length $message < 4 + unpack 'N', $message) {
        my $n = sysread $conn, $message, 65536, length $message;
        next   if !defined $n && $! == EINTR;
        return if !$n;
    }
    return substr $message, 4;
}

# become_worker runs the gateway's program for workers in a package of its own, because the
# application in this process may have the same names in main.
sub become_worker {
    my ($script, $configuration) = @_;
    open my $in, '<', $script or die "$script: $!\n";
    my $text = do { local $/; readline $in };
    close $in;
    my $file = File::Temp::tempfile();
    binmode $file;
    print {$file} $configuration;
    seek $file, 0, 0;    # flushes
    open STDIN, '<&', $file or die "cannot open the configuration: $!\n";
    sysseek STDIN, 0, 0;
    close $file;
    $0 = $script;
    eval "package PagiBridge::Program;\n#line 1 \"$script\"\n$text; 1" or print STDERR $@;    ## no critic (ProhibitStringyEval)
    POSIX::_exit(1);
}

# application returns the application for the workers to serve.
sub application { return $application }

1;
