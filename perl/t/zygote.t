use strict;
use warnings;

use File::Spec ();
use File::Temp qw(tempdir);
use IO::Socket::INET ();
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge;
use PagiBridge::Sockets;
use PagiBridge::Wire qw(:frames frame parse_frames pack_pairs);
use PagiBridge::Worker;
use PagiBridge::Zygote;

# This process plays the gateway; the zygote runs in a child, and what its children do
# is given here.
my $dir = tempdir(CLEANUP => 1);
my $me  = $$;
my ($gateway, $buffer);

sub zygote {
    my ($load, $in_child) = @_;
    socketpair $gateway, my $socket, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    $buffer = '';
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    return $pid if $pid;
    close $gateway;
    # What comes from it is not this test's output.
    open STDOUT, '>', "$dir/zygote.out" or POSIX::_exit(9);
    open STDERR, '>&', \*STDOUT or POSIX::_exit(9);
    STDOUT->autoflush;
    STDERR->autoflush;
    my $worker = PagiBridge::Worker->new($socket);
    my $zygote = PagiBridge::Zygote->new($worker);
    my @kept   = $load->();
    my $config = $zygote->run;
    $in_child->($config, @kept);
    POSIX::_exit(0);
}

my $forks = 0;

# fifo makes a worker's output and returns its path and the reading end.
sub fifo {
    my $path = "$dir/output" . ++$forks;
    POSIX::mkfifo($path, 0600) or die "mkfifo: $!";
    sysopen my $reader, $path, POSIX::O_RDONLY() | POSIX::O_NONBLOCK() or die "$path: $!";
    return ($path, $reader);
}

sub ask {
    my ($token, $path) = @_;
    syswrite $gateway, frame(FORK, 0, 0, pack_pairs(token => $token, worker => $forks, output => $path));
    return;
}

sub next_frame {
    my ($frame, @rest);
    while (!$frame) {
        ($frame, @rest) = parse_frames(\$buffer);
        $buffer = join '', @rest, $buffer;
        next if $frame;
        my $n = sysread $gateway, $buffer, 1 << 16, length $buffer;
        return if !$n;
    }
    return (unpack('x8 C', $frame), substr($frame, HEADER_SIZE), unpack 'x9 C', $frame);
}

# said reads what a worker prints until it has closed its output.
sub said {
    my ($reader) = @_;
    my $text = '';
    for (1 .. 5000) {
        my $n = sysread $reader, $text, 4096, length $text;
        last if defined $n && $n == 0 && $text =~ /^done$/m;
        select undef, undef, undef, 0.002 if !$n;
    }
    return $text;
}

{
    my $pid = zygote(
        sub { open my $copy, '>&', \*STDERR or die; $copy->autoflush; rand; return $copy },
        sub {
            my ($config, $copy) = @_;
            print "token $config->{token}, worker $config->{worker}\n";
            print STDERR "to the error output\n";
            print {$copy} "to a copy\n";
            print 'group ', (getpgrp == $$ ? 'own' : 'shared'), "\n";
            print 'chld ', (defined $SIG{CHLD} ? $SIG{CHLD} : 'undef'), "\n";
            print 'rand ', int rand 1e9, "\n";
            system "$^X -e 'print qq(by a child\\n)'";
            print "done\n";
            POSIX::_exit(7) if $config->{token} eq 'B';
            kill KILL => $$ if $config->{token} eq 'C';
        },
    );
    my %rand;
    for my $token (qw(A B C)) {
        my ($path, $reader) = fifo();
        ask($token, $path);
        my ($type, $payload) = next_frame();
        is $type, FORKED, "$token: forked";
        my ($child, $for, $message) = unpack 'N N/a* a*', $payload;
        is_deeply [$for, $message], [$token, ''], 'with its token';
        my $text = said($reader);
        like $text, qr/^token $token, worker $forks$/m, 'the child knows what it is';
        like $text, qr/^to the error output$/m,  'its error output is its own';
        like $text, qr/^to a copy$/m,            'so are copies the application has made';
        like $text, qr/^by a child$/m,           'and the output of its children';
        like $text, qr/^group own$/m,            'a process group of its own';
        like $text, qr/^chld (?:DEFAULT|undef)$/m, 'the default for SIGCHLD';
        my ($random) = $text =~ /^rand (\d+)$/m;
        ok !$rand{$random}++, 'random numbers of its own';
        ($type, $payload) = next_frame();
        is_deeply [$type, unpack 'N N', $payload], [EXITED, $child, { A => 0, B => 7 << 8, C => 9 }->{$token}], 'its end is told';
    }
    ask('D', "$dir/no/such/fifo");
    my ($type, $payload) = next_frame();
    is $type, FORKED, 'a child whose output cannot be opened';
    ($type, $payload) = next_frame();
    is_deeply [$type, (unpack 'N N', $payload)[1]], [EXITED, 1 << 8], 'ends';
    my $ordinary = "$dir/unread";
    POSIX::mkfifo($ordinary, 0600) or die;
    ask('E', $ordinary);
    next_frame();
    ($type, $payload) = next_frame();
    is_deeply [$type, (unpack 'N N', $payload)[1]], [EXITED, 1 << 8], 'so does one whose output nobody reads';

    syswrite $gateway, frame(DRAIN, 0, 0, '');
    waitpid $pid, 0;
    is $?, 0, 'drained';
    open my $out, '<', "$dir/zygote.out" or die;
    my $rest = do { local $/; <$out> };
    unlike $rest, qr/to the error|to a copy|done/, 'nothing of the workers is in the output of the zygote';
    like $rest, qr/cannot open the worker's output: .*no\/such\/fifo: No such file/, 'but why they could not start';
}

{
    # What the application wants to know of its children is for the workers.
    my $pid = zygote(
        sub { $SIG{CHLD} = sub { print "a child of $$\n"; 1 while waitpid(-1, POSIX::WNOHANG()) > 0 }; my $own = fork; POSIX::_exit(3) if defined $own && !$own; return },
        sub { my $kid = fork; POSIX::_exit(0) if !$kid; select undef, undef, undef, .2; print "done\n" },
    );
    my ($path, $reader) = fifo();
    ask('A', $path);
    my ($type, $payload) = next_frame();
    my $child = unpack 'N', $payload;
    like said($reader), qr/^a child of $child$/m, 'a handler for SIGCHLD set while loading works in the child';
    ($type, $payload) = next_frame();
    is_deeply [$type, unpack 'N N', $payload], [EXITED, $child, 0], 'and does not keep the zygote from telling';
    close $gateway;
    waitpid $pid, 0;
    is $?, 0, 'ends when the gateway goes';
}

SKIP: {
    skip 'no /proc', 4 if !-d '/proc/self/fd';
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $!";
    my $port     = $listener->sockport;
    my $pid = zygote(
        sub { close $listener; IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die },
        sub { print "done\n" },
    );
    for my $n (1, 2) {
        my ($path, $reader) = fifo();
        ask('A', $path);
        my ($type, $payload, $flags) = next_frame();
        if ($n == 1) {
            is_deeply [$type, $flags], [LOG, LOG_WARN], 'a socket opened while loading is a warning';
            like $payload, qr/opened a socket while it was loaded: tcp 127\.0\.0\.1:$port\..*after_fork/, 'says where it leads';
            ($type, $payload) = next_frame();
        }
        is $type, FORKED, $n == 1 ? 'then it forks' : 'told once';
        said($reader);
        next_frame();
    }
    close $gateway;
    waitpid $pid, 0;
}

{
    # Garbage from the gateway ends it.
    my $pid = zygote(sub { }, sub { });
    syswrite $gateway, frame(REQUEST, 0, 1, pack_pairs());
    waitpid $pid, 0;
    isnt $?, 0, 'a request is none of its business';
}

{
    # A child whose zygote dies before it has told of it does nothing.
    my $flag = "$dir/flag";
    my $pid  = zygote(
        sub {
            no warnings 'redefine';
            *PagiBridge::Worker::write_now = sub { POSIX::_exit(4) };    # instead of FORKED
            return;
        },
        sub { open my $f, '>', $flag; close $f },
    );
    my ($path, $reader) = fifo();
    ask('A', $path);
    waitpid $pid, 0;
    is $? >> 8, 4, 'the zygote has died';
    is sysread($gateway, my $nothing, 1), 0, 'and its child has gone';
    ok !-e $flag, 'without having been a worker';
}

{
    # Hooks.
    my @seen;
    ok !eval { PagiBridge::after_fork('x'); 1 }, 'a hook must be code';
    like $@, qr/wants a code reference at .*zygote\.t/, 'says where';
    PagiBridge::after_fork(sub { push @seen, "first $_[0]" });
    PagiBridge::after_fork(sub { push @seen, "second $_[0]" });
    PagiBridge::run_after_fork(5);
    is_deeply \@seen, ['first 5', 'second 5'], 'hooks run in order, with the number of the worker';
    PagiBridge::after_fork(sub { push @seen, "late $_[0]" });
    is $seen[-1], 'late 5', 'one that comes late runs at once';
}

is $$, $me, 'no child has come here';
done_testing;
