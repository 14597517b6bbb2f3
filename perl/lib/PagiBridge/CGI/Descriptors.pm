package PagiBridge::CGI::Descriptors;

use strict;
use warnings;

use PagiBridge::CGI::Kernel ();

=head1 NAME

PagiBridge::CGI::Descriptors - finds out what a run of a CGI script has left open

=head1 SYNOPSIS

    PagiBridge::CGI::Descriptors::note(@descriptors);    # before the run
    ... a run ...
    my $none = PagiBridge::CGI::Descriptors::look() == 0 && !PagiBridge::CGI::Descriptors::beyond();

=head1 DESCRIPTION

This module loads no other module but the one for the kernel, because it is loaded before a script.

=cut

my $POLLNVAL = 0x20;
my $F_DUPFD_CLOEXEC = 1030;

my ($fcntl, $ppoll, $close);
my ($asked, $closed, $polled) = ('') x 3;    # what ppoll is asked, what it says where nothing is open, and what it has said last
my ($size, $end, $free) = (0) x 3;           # how many entries that has; the end of it, and the first descriptor that is free there
my $no_time = pack 'q2', 0, 0;
my $is = 0;

=head1 FUNCTIONS

=head2 note(@descriptors)

Notes which descriptors from 3 on are the process's own.

=cut

sub note {
    my %own = map { $_ => 1 } @_;
    ($fcntl, $ppoll, $close) = PagiBridge::CGI::Kernel::numbers(qw(fcntl ppoll close));
    for ($end = 64; $end > 3; $end >>= 1) {    # the kernel polls no more descriptors than the process may open
        my @numbers = map { $own{$_} ? -1 : $_ } 3 .. $end - 1;
        $asked  = pack '(l s s)*', map { ($_, 0, 0) } @numbers;
        $closed = pack '(l s s)*', map { ($_, 0, $_ < 0 ? 0 : $POLLNVAL) } @numbers;
        $size   = @numbers;
        last if look() >= 0;
    }
    $free = first_free();
    return;
}

# first_free returns the first free descriptor behind those in the poll.
sub first_free {
    $is = syscall $fcntl, 0, $F_DUPFD_CLOEXEC, $end;
    syscall $close, $is if $is >= 0;
    return $is;
}

=head2 look

Returns 1 if a descriptor below 64 is open that is not the process's own, 0 if none is, and -1 if that cannot be found out.

=cut

sub look {
    $polled = $asked;
    return -1 if syscall($ppoll, $polled, $size, $no_time, 0, 8) < 0;
    return $polled eq $closed ? 0 : 1;
}

=head2 beyond

Returns whether others of the descriptors from 64 on are open than at the time of C<note>. The kernel gives the lowest free
number, so this is seen when a run keeps that many open.

=cut

sub beyond { return first_free() != $free }

=head2 noted

Returns what C<look> and C<beyond> know, for code that has no time to call them: what ppoll is asked, how many entries that
has, what ppoll says where nothing is open, the number behind them, and the first one that is free there.

=cut

sub noted { return $asked, $size, $closed, $end, $free }

=head2 found

Returns the numbers of the open descriptors that the last C<look> has found.

=cut

sub found {
    my @found;
    for my $entry (unpack '(a8)*', $polled) {
        my ($number, undef, $state) = unpack 'l s s', $entry;
        push @found, $number if $number >= 0 && !($state & $POLLNVAL);
    }
    return @found;
}

=head2 flush

Writes the buffers of all handles, in the order in which perl does that after the C<END> blocks.

=cut

sub flush {
    # Perl flushes all handles before it runs a program, even one that cannot be run. Under -T it
    # first looks at these variables.
    local @ENV{qw(PATH IFS CDPATH ENV BASH_ENV)} = ('/') x 5 if ${^TAINT};
    local $^W = 0;
    no warnings 'exec';
    exec {'/'} 'none' or return;
}

1;
