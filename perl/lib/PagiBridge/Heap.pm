package PagiBridge::Heap;

use strict;
use warnings;

=head1 NAME

PagiBridge::Heap - the memory of an application in huge pages

=head1 SYNOPSIS

    my $bytes = PagiBridge::Heap::collapse();

=head1 DESCRIPTION

Perl follows pointers all over the memory that an application was loaded into. With pages of 4 KiB the processor has to look up
most of them in the tables of the kernel, and on a virtual machine in those of the host as well. In pages of 2 MiB they are
few. An application of a framework needs a tenth less processor time with them.

The memory is not shared with other processes any more afterwards. So a process that others are to be forked from is better
left as it is.

=head1 FUNCTIONS

=head2 collapse(%options)

Moves what is in the heap to huge pages, as far as whole pages fit, and returns how many bytes they are. It does nothing and
returns 0 where the heap is smaller than 8 MiB, where the system does not have them or its administrator does not want them
(C<never> in F</sys/kernel/mm/transparent_hugepage/enabled>, or the file given as C<setting>), or with a kernel before Linux
6.1. The time that it takes is some milliseconds for each MiB.

=cut

use constant {
    HUGE     => 2 * 1024 * 1024,
    LEAST    => 8 * 1024 * 1024,
    HUGEPAGE => 14,    # MADV_HUGEPAGE: later ones may be collapsed by the kernel
    COLLAPSE => 25,    # MADV_COLLAPSE
    SETTING  => '/sys/kernel/mm/transparent_hugepage/enabled',
};

# The numbers of the system call madvise.
my %madvise = (x86_64 => 28, aarch64 => 233);

sub collapse {
    my (%options) = @_;
    local $!;
    my $call = number() or return 0;
    my $setting = contents(defined $options{setting} ? $options{setting} : SETTING);
    return 0 if $setting eq '' || $setting =~ /\[never\]/;
    my ($from, $to) = contents('/proc/self/maps') =~ /^([0-9a-f]+)-([0-9a-f]+) .*\[heap\]$/m or return 0;
    ($from, $to) = (address($from) + HUGE - 1 & ~(HUGE - 1), address($to) & ~(HUGE - 1));
    return 0 if $to - $from < LEAST;
    syscall $call, $from, $to - $from, HUGEPAGE;    # without it they stay huge until they are split
    return syscall($call, $from, $to - $from, COLLAPSE) == 0 ? $to - $from : 0;
}

# number returns the number of madvise on this system; undef: it is not known.
sub number {
    return if $^O ne 'linux' || length pack('p', undef) != 8;
    require Config;
    no warnings 'once';
    my ($machine) = $Config::Config{archname} =~ /^([^-]+)/;
    return $madvise{$machine};
}

sub contents {
    my ($file) = @_;
    local $/;
    open my $in, '<', $file or return '';
    my $contents = <$in>;
    return defined $contents ? $contents : '';
}

sub address {
    my ($digits) = @_;
    no warnings 'portable';
    return hex $digits;
}

1;
