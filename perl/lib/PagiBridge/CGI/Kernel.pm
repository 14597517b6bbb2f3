package PagiBridge::CGI::Kernel;

use strict;
use warnings;

=head1 NAME

PagiBridge::CGI::Kernel - the system calls that a zygote needs and Perl has no word for

=head1 SYNOPSIS

    PagiBridge::CGI::Kernel::set(read => 0, sendmsg => 46, ...);
    my ($text, @descriptors) = PagiBridge::CGI::Kernel::take($socket);
    PagiBridge::CGI::Kernel::hand_on($socket, 'some text');

=head1 DESCRIPTION

Descriptors are numbers here. This module loads no other module, because a script must find
nothing in C<%INC> or in its memory that it has not loaded itself. The gateway passes the
numbers of the system calls for the machine. For 64-bit Linux.

Functions that fail return an empty list or -1 and leave the reason in C<$!>.

=cut

# Constants of Linux. The module constant would be one more module.
my $MSG_NOSIGNAL = 0x4000;
my $MSG_CMSG_CLOEXEC = 0x40000000;
my $SIGTRAP = 5;
my $PR_SET_NAME = 15;
my $F_GETFD = 1;
my $F_GETFL = 3;
my $F_SETFD = 2;
my $F_DUPFD_CLOEXEC = 1030;
my $FD_CLOEXEC = 1;
my $AT_FDCWD = -100;
my $O_CLOEXEC = 0x80000;
my $SEEK_SET = 0;
my $SEEK_CUR = 1;
my $EINTR = 4;
my $SA_RESTART = 0x10000000;
my $MOST = 65536;    # bytes in a message

my ($own, %number);

# Buffers to which the kernel writes. They never move, because their addresses are kept.
my $text    = space($MOST);
my $control = space(64);
my $piece   = pack 'J J', address($text), $MOST;

sub space { my ($size) = @_; vec(my $room, $size - 1, 8) = 0; return $room }
sub address { return unpack 'J', pack 'p', $_[0] }

=head1 FUNCTIONS

=head2 set(name => number, ...)

Sets the numbers. Returns false where they are not those of this machine.

=cut

sub set {
    %number = map { /\A[0-9]+\z/ ? 0 + $_ : $_ } @_;
    $own = 0 + $$;    # looked at now: later the gateway would take that for the script's
    return length(pack 'J', 0) == 8 && syscall($number{getpid}) == $own;
}

=head2 hand_on($socket, $message)

Sends a message. It blocks no longer than the other side takes to read.

=cut

sub hand_on {
    my ($socket, $message) = @_;
    my $vector = pack 'J J', address($message), length $message;
    return syscall $number{sendmsg}, $socket, header($vector, ''), $MSG_NOSIGNAL;
}

sub header {
    my $rights = length $_[1];
    return pack 'J L x4 J J J J l x4', 0, 0, address($_[0]), length($_[0]) / 16, $rights ? address($_[1]) : 0, $rights, 0;
}

=head2 take($socket)

Waits for a message and returns it with the descriptors that came with it. At the end of the
connection it returns nothing.

=cut

sub take {
    my ($socket) = @_;
    my ($head, $length);
    do {
        $head   = header($piece, $control);
        $length = syscall $number{recvmsg}, $socket, $head, $MSG_CMSG_CLOEXEC;
    } while ($length < 0 && $! == $EINTR);
    return if $length < 1;
    my $rights = unpack 'x40 J', $head;
    return substr($text, 0, $length), $rights < 16 ? () : unpack 'x16 l' . int(((unpack 'J', $control) - 16) / 4), $control;
}

=head2 allowed($file, $mode)

Reports whether the user of this process may read (4), run (1), read and run (5) a file.

=cut

sub allowed { my ($file, $mode) = @_; return syscall($number{faccessat}, $AT_FDCWD, $file, 0 + $mode, 0) == 0 }

=head2 away($descriptor)

Moves a descriptor to a high number, which no file of the script gets, if the limit of open
files allows it. Returns the number.

=cut

sub away {
    my ($descriptor) = @_;
    my $high = syscall $number{fcntl}, $descriptor, $F_DUPFD_CLOEXEC, 64;
    return $descriptor if $high < 0;
    syscall $number{close}, $descriptor;
    return $high;
}

=head2 shut($descriptor)

Closes the descriptor.

=cut

sub shut { my ($descriptor) = @_; return syscall $number{close}, $descriptor }

=head2 keep($descriptor)

Keeps the descriptor from programs that this process runs.

=cut

sub keep { my ($descriptor) = @_; return syscall $number{fcntl}, $descriptor, $F_SETFD, $FD_CLOEXEC }

=head2 describe($descriptor)

Returns a reference to the description of an open file that C<reopen> takes.

=cut

sub describe {
    my $descriptor = 0 + $_[0];
    my $flags = syscall $number{fcntl}, $descriptor, $F_GETFL, 0;
    my $keep  = syscall $number{fcntl}, $descriptor, $F_GETFD, 0;
    my $at    = syscall $number{lseek}, $descriptor, 0, $SEEK_CUR;
    return [ $descriptor, $flags, $keep & $FD_CLOEXEC ? $O_CLOEXEC : 0, $at ];
}

=head2 reopen($descriptor, $flags, $keep, $position)

Opens the same file again under the same number, so that no other process shares its position.

=cut

sub reopen {
    my ($descriptor, $flags, $keep, $position) = @_;
    my $name  = "/proc/self/fd/$descriptor";
    my $fresh = syscall $number{openat}, $AT_FDCWD, $name, $flags | $O_CLOEXEC, 0;
    return -1 if $fresh < 0;
    my $done = syscall $number{lseek}, $fresh, $position, $SEEK_SET;
    $done = syscall $number{dup3}, $fresh, $descriptor, $keep if $done >= 0;
    shut($fresh);
    return $done;
}

=head2 mark

Sends this process a TRAP, which the gateway intercepts. It so learns that the compilation of a
script begins or ends.

=cut

sub mark { return syscall $number{kill}, $own, $SIGTRAP }

=head2 call_me($name)

Sets the name of this process that C<ps -C> looks for.

=cut

sub call_me { my ($name) = @_; return syscall $number{prctl}, $PR_SET_NAME, $name, 0, 0, 0 }

=head2 vanish($status)

Ends this process at once, with status 0 by default: no END block, no destructor.

=cut

sub vanish { syscall $number{exit_group}, @_ ? 0 + $_[0] : 0; return }

=head2 watch($signal)

Has this process, and those that are forked from it, write its callers to standard error at the signals NUM60 and C<$signal>.
L<PagiBridge::Stack> says what they are for.

=cut

sub watch {
    my ($signal) = @_;
    return if !exists $SIG{NUM60};
    my $write = $number{write};
    my ($told, $done);
    my $write_callers = sub {
        my $errno = 0 + $!;
        my ($text, $level) = ("\x1epagi-bridge stack\x1e", 1);
        $told = 1;
        while ($level < 40 && length $text < 3000) {
            my (undef, $file, $line, $sub) = caller $level++;
            last if !defined $line;
            $text .= "$file\t$line\t$sub\t";
        }
        utf8::encode($text) if utf8::is_utf8($text);
        substr $text, 3500, length $text, '' if length $text > 3500;
        $text =~ tr/\n/?/;
        $text .= "\n";
        syscall $write, 2, $text, length $text;
        $done = 1;
        select undef, undef, undef, 1;    # a sleep that was interrupted is over, but the program must not run on
        $! = $errno;
    };
    $SIG{NUM60}   = sub { $write_callers->() if !$told };
    $SIG{$signal} = sub { $write_callers->() if !$done; $SIG{$signal} = 'DEFAULT' };
    my %numbers = (ILL => 4, BUS => 7, FPE => 8, NUM60 => 60);
    for my $each (@numbers{ 'NUM60', $signal }) {
        vec(my $action, 31, 8) = 0;
        next if syscall($number{rt_sigaction}, $each, 0, $action, 8) < 0;
        my ($handler, $flags, $rest) = unpack 'J J a*', $action;
        $action = pack 'J J a*', $handler, $flags | $SA_RESTART, $rest;
        syscall $number{rt_sigaction}, $each, $action, 0, 8;
    }
    return;
}

=head2 numbers(@names)

Returns the numbers of system calls, for code that has no time to call the functions above.

=cut

sub numbers { return @number{@_} }

1;
