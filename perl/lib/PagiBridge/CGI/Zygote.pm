package PagiBridge::CGI::Zygote;

use strict;
use warnings;

use PagiBridge::CGI::Kernel ();
use PagiBridge::CGI::Watch  ();

=head1 NAME

PagiBridge::CGI::Zygote - compiles a CGI script once and runs it in a fresh process each time

=head1 SYNOPSIS

    perl -I/runtime/lib -MPagiBridge::CGI::Zygote=63,read,0,... script.cgi

=head1 DESCRIPTION

The script is perl's main program, and stays it: this module is loaded before the first
line, and takes over when all is compiled, in an C<INIT> block. There it forks a process for each
request. In these the block returns, and perl goes on with what comes next: the script's own
C<INIT> blocks and its first statement. So C<__FILE__>, C<DATA>, C<caller>, C<exit>, C<die> and
C<END> are what they are without it.

The first argument is the descriptor of the control socket, a SOCK_SEQPACKET one; the
others say what the numbers of the system calls are. Messages, one per packet:

=over

=item gateway, once

pairs of a key and a value, each followed by NUL: C<module>, to be loaded before the script;
C<script> and C<data>, where the main program is that of L<PagiBridge::CGI::Persistent>;
C<later>, to be loaded when it is compiled, if that can be done; C<report> with a directory, where
children shall tell which modules they have loaded: the keys of C<%INC>, one per line, in a file
C<loaded-PID>. Of interest are those from the directories that C<@INC> had when perl was started.

C<file> and C<access>, what the user must be allowed to do with it, as C<PagiBridge::CGI::Kernel::allowed>
takes it. C<cpu> twice: the seconds of processor time each process may use, and those after which it is
killed. Further C<expect> and the name of a variable that most requests have; C<unset> and that of one
which is not the script's.

=item zygote, once

C<R>, then NUL-terminated entries: C<v> and the name of a variable that the compilation has
looked at, C<i> and a file that it has loaded. Or C<D> and why this cannot be done for this
script, C<A> and what of it is not allowed.

=item gateway

one byte: how many processes to fork; 0 says that those to come need not report.

=item zygote

C<C> and a pid (four bytes, native), with a socket on which this child waits for its request; C<S>
where it will report; C<E> and why there is none.

=item gateway, to a child

four random bytes, one that is 0, then NUL-terminated variables: C<NAME=VALUE>, or C<NAME> for one that
is not there. With it come the descriptors for STDIN, STDOUT and STDERR.

=back

=cut

my ($control, $watch, $self, $reserve, %config, @library);

# What multiply works with: messages for the kernel, and what it reads from them.
my ($read, $socketpair, $clone, $sendmsg, $recvmsg, $close, $dup3, $prctl);
my ($order, $pid, $mine, $theirs, $length, $in, $out, $err, $end, $kept) = (0) x 10;
my ($overrides, $prlimit, $cpu, @files);
my $pair   = PagiBridge::CGI::Kernel::space(8);
my $count  = PagiBridge::CGI::Kernel::space(1);
my $note   = 'C' . "\0" x 4;
my $rights = pack 'J l l l x4', 20, 1, 1, 0;                       # SOL_SOCKET, SCM_RIGHTS, a descriptor
my $vector = pack 'J J', PagiBridge::CGI::Kernel::address($note), 5;
my $header = PagiBridge::CGI::Kernel::header($vector, $rights);
my $text   = PagiBridge::CGI::Kernel::space(65_536);
my $given  = PagiBridge::CGI::Kernel::space(32);                   # room for three descriptors
my $into   = pack 'J J', PagiBridge::CGI::Kernel::address($text), 65_536;
my $job    = PagiBridge::CGI::Kernel::header($into, $given);

sub import {
    my (undef, $descriptor, @numbers) = @_;
    $control = 0 + $descriptor;
    my $home = __FILE__;
    $home =~ s{/PagiBridge/CGI/Zygote[.]pm\z}{};
    @INC = grep { $_ ne $home } @INC;
    @library = grep { m{\A/} } @INC;
    if (!PagiBridge::CGI::Kernel::set(@numbers)) {
        print STDERR "this perl is not of the gateway's architecture\n";
        exit 1;
    }
    PagiBridge::CGI::Kernel::keep($control);
    read_configuration();
    my ($file, $access) = map { $_->[0] } @config{qw(file access)};
    if (!PagiBridge::CGI::Kernel::allowed($file, $access)) {
        PagiBridge::CGI::Kernel::hand_on($control, $access == 4 ? 'Aread it' : 'Aread and run it');
        PagiBridge::CGI::Kernel::vanish();
    }
    $cpu = pack 'J J', @{ $config{cpu} } if $config{cpu};
    delete @ENV{ @{ $config{unset} || [] } };
    {
        local @INC = ($home, @INC);
        if   ($config{script}) { require PagiBridge::CGI::Persistent }
        else                   { require PagiBridge::CGI::Ending }
    }
    delete @INC{ grep { m{\APagiBridge/} } keys %INC };    # there may be others of that name
    PagiBridge::CGI::Persistent::prepare(@{ $config{script} }, @{ $config{data} || [] }) if $config{script};
    $watch = PagiBridge::CGI::Watch->begin(control => $control);
    for my $file (@{ $config{module} || [] }) {
        next if eval { require $file };
        decline("$file, of preload_modules, cannot be loaded: $@");
    }
    return;
}

sub read_configuration {
    my ($text) = PagiBridge::CGI::Kernel::take($control) or PagiBridge::CGI::Kernel::vanish();
    my @pairs = split /\0/, $text;
    while (my ($key, $value) = splice @pairs, 0, 2) {
        push @{ $config{$key} }, $value;
    }
    return;
}

sub decline {
    my ($why) = @_;
    PagiBridge::CGI::Kernel::hand_on($control, "D$why");
    PagiBridge::CGI::Kernel::vanish();
    return;
}

INIT {
    local ($@, $!, $?, $_);
    $self = CORE::__SUB__;    # perl would take it to pieces in every child
    if (defined $control) {
        settle();
        multiply();
    }
}

# settle tells the gateway what has come of the compilation. All it has needed for that is
# given back before the first fork.
sub settle {
    for my $file (@{ $config{later} || [] }) {
        eval { require $file };    # the script will see what is wrong with it
    }
    my $why = $watch->end;
    $why = 'it keeps a file open' if $why eq '' && $config{script} && $watch->files;
    decline($why) if $why ne '';
    my $here     = readlink '/proc/self/cwd';
    my @included = map { m{\A/} ? $_ : "$here/$_" } grep { defined && !ref } values %INC;
    PagiBridge::CGI::Ending::probe() if !$config{script};
    @files     = $watch->files;
    $overrides = $watch->overrides;
    reserve();
    for my $name (grep { !exists $ENV{$_} } @{ $config{expect} || [] }) {
        $ENV{$name} = ' ' x 64;    # it has its place in memory now
    }
    PagiBridge::CGI::Kernel::hand_on($control, join '', 'R', map {"$_\0"} map({"v$_"} $watch->names), map {"i$_"} @included);
    return;
}

# multiply forks whenever it is told to. It returns in a child, when that has got its request.
#
# Of all that a process writes to, the kernel first makes it a copy, page by page. So
# this does as little as it can, in one place and without subroutines, in variables that are there
# before and after.
sub multiply {
    ($read, $socketpair, $clone, $sendmsg, $recvmsg, $close, $dup3, $prctl, $prlimit)
        = PagiBridge::CGI::Kernel::numbers(qw(read socketpair clone sendmsg recvmsg close dup3 prctl prlimit64));
    while (1) {
        $order = syscall $read, $control, $count, 1;
        next if $order < 0 && $! == 4;                             # EINTR
        PagiBridge::CGI::Kernel::vanish() if $order < 1;
        $order = ord $count;
        delete $config{report} if !$order;
        while ($order--) {
            if (syscall($socketpair, 1, 0x80005, 0, $pair) < 0) {  # AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC
                PagiBridge::CGI::Kernel::hand_on($control, "E$!");
                next;
            }
            ($mine, $theirs) = unpack 'l l', $pair;
            $pid = syscall $clone, 0x8011, 0, 0, 0, 0;             # CLONE_PARENT | SIGCHLD
            last if !$pid;
            if ($pid < 0) {
                PagiBridge::CGI::Kernel::hand_on($control, "E$!");
            }
            else {
                substr $note,   0,  5, pack 'a l', $config{report} ? 'S' : 'C', $pid;
                substr $rights, 16, 4, pack 'l', $theirs;
                syscall $sendmsg, $control, $header, 0x4000;       # MSG_NOSIGNAL
            }
            syscall $close, $mine;
            syscall $close, $theirs;
        }
        last if !$pid && $mine;
    }
    syscall $close, $theirs;
    syscall $close, $control;
    syscall $prctl, 1, 9, 0, 0, 0;                                 # PR_SET_PDEATHSIG, SIGKILL
    syscall $prlimit, 0, 0, $cpu, 0 if defined $cpu;               # RLIMIT_CPU, of this process
    for (@files) {
        PagiBridge::CGI::Kernel::reopen(@$_) >= 0 or PagiBridge::CGI::Kernel::vanish();
    }
    return PagiBridge::CGI::Persistent::begin($mine, $watch) if $config{script};
    PagiBridge::CGI::Ending::begin($config{report}[0], @library) if $config{report};
    { no warnings 'once'; $PagiBridge::CGI::Ending::process = $$ }
    do { $length = syscall $recvmsg, $mine, $job, 0x40000000 } while ($length < 0 && $! == 4);    # MSG_CMSG_CLOEXEC
    PagiBridge::CGI::Kernel::vanish() if $length < 5 || unpack('J', $given) != 28;
    ($in, $out, $err) = unpack 'x16 l l l', $given;
    syscall $dup3, $in, 0, 0;
    syscall $close, $in;
    syscall $dup3, $out, 1, 0;
    syscall $close, $out;
    syscall $dup3, $err, 2, 0;
    syscall $close, $err;
    syscall $close, $mine;
    for (split /\0/, substr $text, 5, $length - 5) {
        $end  = index $_, '=';
        $kept = $overrides && $watch->overrides($end < 0 ? $_ : substr $_, 0, $end);
        if    ($kept)    { }
        elsif ($end < 0) { delete $ENV{$_} }
        else             { $ENV{ substr $_, 0, $end } = substr $_, $end + 1 }
    }
    $^T = time;
    srand unpack 'L', $text;
    return;
}

# reserve fills the gaps that the compilation has left in perl's memory. What a child makes
# new lies together then, in pages of its own.
sub reserve {
    my @all = ((1) x 2000, map({"x$_"} 1 .. 300), map({ [$_] } 1 .. 50), map({ +{ x => $_ } } 1 .. 20), { map { $_ => 1 } 1 .. 300 });
    for my $size (1 .. 64) { push @all, map { 'x' x (16 * $size - 1) } 1 .. 8 }
    my $large = 'x' x 100_000;    # has malloc put small pieces together that are free
    undef $large;
    $reserve = \@all;
    return;
}

1;
