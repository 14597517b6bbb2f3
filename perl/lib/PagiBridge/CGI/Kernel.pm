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

Descriptors are numbers here, and no module is loaded: a script must not find more in
C<%INC> and in its memory than it has brought. The gateway tells the numbers of the
system calls, which belong to the machine they run on. For 64-bit Linux.

Functions that fail return an empty list or -1 and leave the reason in C<$!>.

=cut

# What Linux calls these; `constant` would be one module more.
my $MSG_NOSIGNAL = 0x4000;
my $MSG_CMSG_CLOEXEC = 0x40000000;
my $SIGCHLD = 17;
my $F_SETFD = 2;
my $F_DUPFD_CLOEXEC = 1030;
my $FD_CLOEXEC = 1;
my $AT_FDCWD = -100;
my $O_CLOEXEC = 0x80000;
my $SEEK_SET = 0;
my $EINTR = 4;
my $MOST = 65536;    # bytes in a message

my %number;

# What the kernel writes to lies where it is for good: the addresses are kept.
my $text    = space($MOST);
my $control = space(64);
my $two     = space(8);
my $piece   = pack 'J J', address($text), $MOST;

sub space { my ($size) = @_; vec(my $room, $size - 1, 8) = 0; return $room }
sub address { return unpack 'J', pack 'p', $_[0] }

=head1 FUNCTIONS

=head2 set(name => number, ...)

Says what the numbers are. Returns false where they are not this machine's.

=cut

sub set {
    %number = map { /\A[0-9]+\z/ ? 0 + $_ : $_ } @_;
    return length(pack 'J', 0) == 8 && syscall($number{getpid}) == $$;
}

=head2 hand_on($socket, $message)

Sends a message. It does not block longer than the other side takes to read.

=cut

sub hand_on {
    my ($socket, $message) = @_;
    my $vector = pack 'J J', address($message), length $message;
    return syscall $number{sendmsg}, $socket, header($vector, ''), $MSG_NOSIGNAL;
}

sub header {
    my $rights = length $_[1];
    return pack 'J L x4 J J J J l x4', 0, 0, address($_[0]), 1, $rights ? address($_[1]) : 0, $rights, 0;
}

=head2 take($socket)

Waits for a message and returns it with the descriptors that have come along; nothing
at the end.

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

=head2 offspring

Forks a child of this process: returns its pid, in it 0.

=cut

sub offspring { return syscall $number{clone}, $SIGCHLD, 0, 0, 0, 0 }

=head2 away($descriptor)

Moves a descriptor to a number where it is in nobody's way, if the limit of open files lets
it, and returns where it is.

=cut

sub away {
    my ($descriptor) = @_;
    my $high = syscall $number{fcntl}, $descriptor, $F_DUPFD_CLOEXEC, 64;
    return $descriptor if $high < 0;
    syscall $number{close}, $descriptor;
    return $high;
}

=head2 shut($descriptor)

Closes it.

=cut

sub shut { my ($descriptor) = @_; return syscall $number{close}, $descriptor }

=head2 keep($descriptor)

Keeps it from programs that are run.

=cut

sub keep { my ($descriptor) = @_; return syscall $number{fcntl}, $descriptor, $F_SETFD, $FD_CLOEXEC }

=head2 reopen($descriptor, $flags, $position)

Opens the same file again under the same number, so that its position is shared with
nobody.

=cut

sub reopen {
    my ($descriptor, $flags, $position) = @_;
    my $name  = "/proc/self/fd/$descriptor";
    my $fresh = syscall $number{openat}, $AT_FDCWD, $name, $flags | $O_CLOEXEC, 0;
    return -1 if $fresh < 0;
    my $done = syscall $number{lseek}, $fresh, $position, $SEEK_SET;
    $done = syscall $number{dup3}, $fresh, $descriptor, $O_CLOEXEC if $done >= 0;
    shut($fresh);
    return $done;
}

=head2 taste($descriptor)

Reads up to two bytes past Perl's buffers and returns how many there were.

=cut

sub taste { my ($descriptor) = @_; return syscall $number{read}, $descriptor, $two, 2 }

=head2 vanish($status)

Ends this process at once, with status 0 by default: no END block, no destructor.

=cut

sub vanish { syscall $number{exit_group}, @_ ? 0 + $_[0] : 0; return }

=head2 numbers(@names)

Returns the numbers of system calls, for those who have no time for the functions above.

=cut

sub numbers { return @number{@_} }

1;
