package PagiBridge::CGI::Kernel;

use strict;
use warnings;

=head1 NAME

PagiBridge::CGI::Kernel - the system calls that a zygote needs and Perl has no word for

=head1 SYNOPSIS

    PagiBridge::CGI::Kernel::set(read => 0, sendmsg => 46, ...);
    my ($mine, $theirs) = PagiBridge::CGI::Kernel::pair() or die $!;
    PagiBridge::CGI::Kernel::hand_on($control, 'some text', $theirs);
    my ($text, @descriptors) = PagiBridge::CGI::Kernel::take($mine);

=head1 DESCRIPTION

Descriptors are numbers here, and no module is loaded: a script must not find more in
C<%INC> and in its memory than it has brought. The gateway tells the numbers of the
system calls, which belong to the machine they run on. For 64-bit Linux.

Functions that fail return an empty list or -1 and leave the reason in C<$!>.

=cut

# What Linux calls these; `constant` would be one module more.
my $AF_UNIX = 1;
my $SOCK_SEQPACKET = 5;
my $SOCK_CLOEXEC = 0x80000;
my $SOL_SOCKET = 1;
my $SCM_RIGHTS = 1;
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

=head2 pair

Returns the two descriptors of a socket pair that keeps messages apart.

=cut

sub pair {
    return if syscall($number{socketpair}, $AF_UNIX, $SOCK_SEQPACKET | $SOCK_CLOEXEC, 0, $two) < 0;
    return unpack 'l l', $two;
}

=head2 hand_on($socket, $message, @descriptors)

Sends a message and copies of the descriptors. It does not block longer than the other
side takes to read.

=cut

sub hand_on {
    my ($socket, $message, @descriptors) = @_;
    my $vector = pack 'J J', address($message), length $message;
    my $rights = @descriptors ? pack 'J l l l* x!8', 16 + 4 * @descriptors, $SOL_SOCKET, $SCM_RIGHTS, @descriptors : '';
    return syscall $number{sendmsg}, $socket, header($vector, $rights), $MSG_NOSIGNAL;
}

sub header {
    my $rights = length $_[1];
    return pack 'J L x4 J J J J l x4', 0, 0, address($_[0]), 1, $rights ? address($_[1]) : 0, $rights, 0;
}

=head2 take($socket, $inherit)

Waits for a message and returns it with the descriptors that have come along; nothing
at the end. Programs that are run inherit the descriptors if C<$inherit> is true.

=cut

sub take {
    my ($socket, $inherit) = @_;
    my $flags = $inherit ? 0 : $MSG_CMSG_CLOEXEC;
    my ($head, $length);
    do {
        $head   = header($piece, $control);
        $length = syscall $number{recvmsg}, $socket, $head, $flags;
    } while ($length < 0 && $! == $EINTR);
    return if $length < 1;
    my $rights = unpack 'x40 J', $head;
    return substr($text, 0, $length), $rights < 16 ? () : unpack 'x16 l' . int(((unpack 'J', $control) - 16) / 4), $control;
}

=head2 offspring

Forks a child of this process: returns its pid, in it 0.

=cut

sub offspring { return syscall $number{clone}, $SIGCHLD, 0, 0, 0, 0 }

=head2 put($from, $to)

Gives a descriptor another number, at which programs inherit it.

=cut

sub put {
    my ($from, $to) = @_;
    syscall $number{dup3}, $from, $to, 0;
    return syscall $number{close}, $from;
}

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
