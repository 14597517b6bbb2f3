package PagiBridge::CGI::Zygote;

my @symbols;
BEGIN { @symbols = keys %main:: }    # that perl begins with

use strict;
use warnings;

use PagiBridge::CGI::Ending ();    # before all others, so that its END block is the last
use PagiBridge::CGI::Kernel ();
use PagiBridge::CGI::Watch  ();

=head1 NAME

PagiBridge::CGI::Zygote - compiles a CGI script once and runs it in a fresh process each time

=head1 SYNOPSIS

    PERL5OPT='-I/runtime/lib -MPagiBridge::CGI::Zygote=63,read,0,...' perl script.cgi

=head1 DESCRIPTION

The script remains perl's main program. This module is loaded before the first line of the
script, and takes over in an C<INIT> block, when all is compiled. There it forks a process for
each request. In these processes the block returns, and perl goes on with the script's own
C<INIT> blocks and its first statement. So C<__FILE__>, C<DATA>, C<caller>, C<exit>, C<die> and
C<END> mean the same as without this module.

The gateway traces the process while the script is compiled. The process marks the beginning
and the end of the compilation by sending itself a TRAP, which the gateway intercepts.

A script must not find traces of this module. It loads no other module, and the gateway takes
C<use strict> and C<use warnings> out of the copy that perl reads. It evaluates no strings, so
that the numbers in C<(eval 1)> are the script's own. It tests no files, so that C<_> is the
script's own. Its packages are gone when the script's first statement runs.

The first argument is the descriptor of the control socket, of type SOCK_SEQPACKET. The other
arguments are the numbers of the system calls. F<bridge/cgi/perlfork/PROTOCOL.md> describes the
packets that pass there, and what this side does with one that is malformed.


=cut

# The name of a process that waits for a request. Programs that count the processes of a script
# must not count it.
my $IDLE = 'pagi-bridge cgi';

my ($control, $watch, $self, $reserve, %config);

# The keys of a configuration, and whether their values are numbers. The empty key is that of the packet that says nothing.
my %NUMERIC = (
    (map { $_ => 0 } '', qw(file module name script set stack unset)),
    (map { $_ => 1 } qw(access arguments cpu data descriptor)),
);

# The variables of multiply: messages for the kernel, and buffers that the kernel fills.
my ($read, $socketpair, $clone, $sendmsg, $recvmsg, $close, $dup3, $prctl);
my ($order, $pid, $mine, $theirs, $length, $in, $out, $err, $end, $kept) = (0) x 10;
my ($prlimit, $cpu, $name, $seeded, $packages, @files);
my ($cleared, %own);                                               # what the script has said itself of the environment
my $pair   = PagiBridge::CGI::Kernel::space(8);
my $count  = PagiBridge::CGI::Kernel::space(1);
my $note   = 'C' . "\0" x 4;
my $rights = pack 'J l l l x4', 20, 1, 1, 0;                       # SOL_SOCKET, SCM_RIGHTS, a descriptor
my $vector = pack 'J J', PagiBridge::CGI::Kernel::address($note), 5;
my $header = PagiBridge::CGI::Kernel::header($vector, $rights);
my $text   = PagiBridge::CGI::Kernel::space(65_536);
my $given  = PagiBridge::CGI::Kernel::space(32);                   # room for three descriptors
my $taint  = substr $0, 0, 0;                                      # tainted under -T, as variables from outside are
my ($shown, $into, $job) = (0);

sub import {
    my (undef, $descriptor, @numbers) = @_;
    $control = 0 + $descriptor;
    my $home = __FILE__;
    $home =~ s{/PagiBridge/CGI/Zygote[.]pm\z}{};
    @INC = grep { $_ ne $home } @INC;
    if (!PagiBridge::CGI::Kernel::set(@numbers)) {
        print STDERR "this perl is not of the gateway's architecture\n";
        exit 1;
    }
    PagiBridge::CGI::Kernel::keep($control);
    configure();
    my ($file, $access) = map { $_->[0] } @config{qw(file access)};
    if (!PagiBridge::CGI::Kernel::allowed($file, $access)) {
        PagiBridge::CGI::Kernel::hand_on($control, $access == 4 ? 'Aread it' : 'Aread and run it');
        PagiBridge::CGI::Kernel::vanish();
    }
    $cpu = pack 'J J', @{ $config{cpu} } if $config{cpu};
    delete @ENV{ @{ $config{unset} || [] } };
    my %set = @{ $config{set} || [] };
    $ENV{$_} = $set{$_} . $taint for keys %set;
    if ($config{script}) {
        local @INC = ($home, @INC);
        require PagiBridge::CGI::Persistent;
    }
    delete @INC{ grep { m{\APagiBridge/} } keys %INC };    # there may be others of that name
    PagiBridge::CGI::Persistent::prepare(@{ $config{script} }, @{ $config{data} || [] }) if $config{script};
    $watch = PagiBridge::CGI::Watch->begin;
    forget_symbols() if !$config{script};
    PagiBridge::CGI::Kernel::mark();
    for my $file (@{ $config{module} || [] }) {
        local $@;
        next if eval { require $file };
        decline("$file, of preload_modules, cannot be loaded: $@");
    }
    return;
}

# configure takes in a packet of pairs.
sub configure {
    my ($text) = PagiBridge::CGI::Kernel::take($control) or PagiBridge::CGI::Kernel::vanish();
    my $pairs = pairs($text) or decline('the gateway has sent a malformed packet');
    while (@$pairs) {
        my ($key, $value) = splice @$pairs, 0, 2;
        push @{ $config{$key} }, $value;
    }
    return;
}

# pairs takes a packet of pairs apart, and returns a reference to them. For what is no such packet it returns nothing.
sub pairs {
    my ($text) = @_;
    my @all = split /\0/, $text, -1;
    return if @all % 2 == 0 || pop(@all) ne '';
    for my $at (0 .. $#all) {
        my ($key, $value) = @all[ $at, $at + 1 ];
        next if $at % 2;
        return if !exists $NUMERIC{$key} || $NUMERIC{$key} && $value !~ /\A[0-9]+\z/;
    }
    return \@all;
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

# settle reports the outcome of the compilation to the gateway. It frees all that it has needed
# for that before the first fork.
sub settle {
    flush_stdout() if $config{script};    # what was printed would be the first request's alone
    PagiBridge::CGI::Kernel::mark();
    configure();
    my $why = $watch->end;
    decline($why) if $why ne '';
    PagiBridge::CGI::Kernel::watch(@{ $config{stack} }) if $config{stack};
    @files = map { PagiBridge::CGI::Kernel::describe($_) } @{ $config{descriptor} || [] };
    my @names = $watch->names;
    $seeded = exists $ENV{PERL_RAND_SEED};    # perl has the seed itself, from 5.38 on
    ($cleared, %own) = $watch->changes;
    ($name) = @{ $config{name} || [] };
    my ($at, $size) = @{ $config{arguments} || [ 0, 0 ] };
    $shown = 0 + $size;
    $into  = pack 'J J J J', $at, $shown, PagiBridge::CGI::Kernel::address($text), 65_536;
    $job   = PagiBridge::CGI::Kernel::header($into, $given);
    PagiBridge::CGI::Kernel::call_me($IDLE) if !$config{script};
    if (!$config{script}) {
        undef $watch;
        vanish_from_sight();
        PagiBridge::CGI::Ending::prepare($control, @{ $config{descriptor} || [] });
    }
    reserve();
    PagiBridge::CGI::Kernel::hand_on($control, join '', 'R', map {"$_\0"} @names);
    return;
}

# forget_symbols removes the symbols of package main that only this runtime has used from
# perl's symbol table. Code that is compiled already keeps them.
sub forget_symbols {
    my %first = map { $_ => 1 } @symbols;
    delete $first{"\x12E_COMPILE_RECURSION_LIMIT"};    # of the pattern by which -M takes its list apart
    delete @main::{ 'BEGIN', grep { !$first{$_} && $_ ne 'PagiBridge::' && $_ ne "\x14" } keys %main:: };    # ^T is watched
    return;
}

# vanish_from_sight removes the packages of this runtime from perl's symbol table. They live on
# for the code that runs in them.
sub vanish_from_sight {
    $packages = \%PagiBridge::;
    delete @main::{ 'PagiBridge::', "\x14" };
    return;
}

sub flush_stdout {
    my $selected = select STDOUT;
    my $auto     = $|;
    $| = 1;
    $| = $auto;
    select $selected;
    return;
}

# multiply forks whenever the gateway asks for it. It returns only in a child, when that has
# got its request.
#
# The kernel copies each page to which a process writes. So multiply does as little as it can,
# in one place and without subroutines, in variables that exist before and after.
sub multiply {
    ($read, $socketpair, $clone, $sendmsg, $recvmsg, $close, $dup3, $prctl, $prlimit)
        = PagiBridge::CGI::Kernel::numbers(qw(read socketpair clone sendmsg recvmsg close dup3 prctl prlimit64));
    while (1) {
        $order = syscall $read, $control, $count, 1;
        next if $order < 0 && $! == 4;                             # EINTR
        PagiBridge::CGI::Kernel::vanish() if $order < 1;
        $order = ord $count;
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
                substr $note,   1,  4, pack 'l', $pid;
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
    do { $length = syscall $recvmsg, $mine, $job, 0x40000000 } while ($length < 0 && $! == 4);    # MSG_CMSG_CLOEXEC
    $length -= $shown;
    PagiBridge::CGI::Kernel::vanish() if $length < 4 || unpack('J', $given) != 28 || $length > 4 && vec $text, $length - 1, 8;
    ($in, $out, $err) = unpack 'x16 l l l', $given;
    syscall $dup3, $in, 0, 0;
    syscall $close, $in;
    syscall $dup3, $out, 1, 0;
    syscall $close, $out;
    syscall $dup3, $err, 2, 0;
    syscall $close, $err;
    syscall $close, $mine;
    syscall $prctl, 15, $name, 0, 0, 0 if defined $name;           # PR_SET_NAME
    for (split /\0/, substr $text, 4, $length - 4) {
        $end  = index $_, '=';
        $kept = $cleared || $own{ $end < 0 ? $_ : substr $_, 0, $end };
        if    ($kept)    { }
        elsif ($end < 0) { delete $ENV{$_} }
        else             { $ENV{ substr $_, 0, $end } = substr($_, $end + 1) . $taint }
    }
    PagiBridge::CGI::Ending::arm();
    $^T = time;
    if   ($seeded) { srand }
    else           { srand unpack 'L', $text }
    for (0 .. ord($text) & 31) {
        my %new = (1, 1);
        keys %new;    # stirs what decides the order of the keys of later hashes
    }
    return;
}

# reserve fills the gaps that the compilation has left in perl's memory. New values of a child
# then lie together, in pages of their own.
sub reserve {
    my @all = ((1) x 2000, map({"x$_"} 1 .. 300), map({ [$_] } 1 .. 50), map({ +{ x => $_ } } 1 .. 20), { map { $_ => 1 } 1 .. 300 });
    for my $size (1 .. 64) { push @all, map { 'x' x (16 * $size - 1) } 1 .. 8 }
    my $large = 'x' x 100_000;    # has malloc put small pieces together that are free
    undef $large;
    $reserve = \@all;
    return;
}

1;
