package PagiBridge::Stack;

use strict;
use warnings;

=head1 NAME

PagiBridge::Stack - writes where this process is, when the gateway is about to end it

=head1 SYNOPSIS

    PagiBridge::Stack::watch('ILL 13');

=head1 DESCRIPTION

Installs handlers for two signals, which the gateway sends to a process that has taken too long, right before it ends it.
Both write the callers to standard error, in one line and without arguments, which may hold secrets.

The handler for the signal NUM60 is an ordinary one: perl runs it between two steps of the program. A process that waits
in a library written in C does not get there. The second signal is for that. Perl runs the handlers of ILL, FPE and BUS
at once, wherever the program is: the handler may run in the middle of malloc. It can ruin the process, which is why only a
process that is to be ended gets that signal. Such a handler could also be installed by C<POSIX::sigaction>, for any signal,
but the module POSIX takes more than a megabyte in every process.

A process that runs into one of these signals by a fault of its own also writes its callers, and then ends by the signal
as it would have without this module.

=head1 FUNCTIONS

=head2 watch($configuration)

Installs the handlers. The configuration is the name of the second signal, and the number of the system call rt_sigaction.
To be called before the application is loaded, and again in a process that was forked from that one and has got another
standard error.

=cut

use constant {
    MARK       => "\x1epagi-bridge stack\x1e",
    GENTLE     => 'NUM60',
    MOST_DEPTH => 40,
    MOST_BYTES => 3000,
    # A sleep that a signal has interrupted does not go on: the program would run on before it is ended. The signal by which the
    # gateway ends it interrupts this wait. It comes in a fifth of this time.
    HOLD       => 1,
    # Of the kernel's sigaction on 64-bit machines.
    SA_RESTART => 0x10000000,
};

my $out;     # a copy: the application may lead its own elsewhere
my $told;    # the callers are being written
my $done;    # they are

sub watch {
    my ($signal, $sigaction) = split / /, $_[0];
    close $out if $out;
    undef $out;
    open $out, '>&', 2 or return;
    binmode $out;
    return if !exists $SIG{ +GENTLE };
    $SIG{ +GENTLE } = sub { write_callers() if !$told };
    # Of a fault that comes again, this process ends.
    $SIG{$signal} = sub { write_callers() if !$done; $SIG{$signal} = 'DEFAULT' };
    restart($_, $sigaction) for GENTLE, $signal;
    return;
}

# write_callers writes the callers. It runs in the middle of anything, so it uses no regular expressions and no eval, opens nothing,
# and leaves the error number as it was. It keeps the program where it is until the gateway ends it.
sub write_callers {
    my $errno = 0 + $!;
    $told = 1;
    my ($text, $level) = (MARK, 1);
    while ($level < MOST_DEPTH && length $text < MOST_BYTES) {
        my (undef, $file, $line, $sub) = caller $level++;
        last if !defined $line;
        $text .= "$file\t$line\t$sub\t";
    }
    utf8::encode($text) if utf8::is_utf8($text);
    substr $text, MOST_BYTES + 500, length $text, '' if length $text > MOST_BYTES + 500;    # a write of 4096 bytes is one piece
    $text =~ tr/\n/?/;
    syswrite $out, "$text\n" if $out;
    $done = 1;
    select undef, undef, undef, HOLD;
    $! = $errno;
    return;
}

# restart has a signal not break off the system calls that can go on.
sub restart {
    my ($signal, $sigaction) = @_;
    my $number = number($signal);
    return if !$number || length pack('J', 0) != 8;
    vec(my $action, 31, 8) = 0;    # room for the kernel to write to
    return if syscall(0 + $sigaction, $number, 0, $action, 8) < 0;
    my ($handler, $flags, @rest) = unpack 'J J a*', $action;
    $action = pack 'J J a*', $handler, $flags | SA_RESTART, @rest;
    syscall 0 + $sigaction, $number, $action, 0, 8;
    return;
}

sub number { return { ILL => 4, BUS => 7, FPE => 8, NUM60 => 60 }->{ $_[0] } }

1;
