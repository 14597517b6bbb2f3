use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::Heap;

# in_process runs code in a process of its own, whose heap is its own, and returns what it prints.
sub in_process {
    my ($code) = @_;
    open my $out, '-|', $^X, "-I$FindBin::Bin/../lib", '-w', '-MPagiBridge::Heap', '-e', $code or die "perl: $!";
    local $/;
    my $text = <$out>;
    close $out or return "it ended with $?";
    return $text;
}

# filled is code that makes a heap of some MiB, in pieces as those of an application are.
sub filled { return "my \@list = map { [1, \$_, 'a piece of text'] } 1 .. 4000 * $_[0];" }

my $huge = <<'CODE';
sub huge { open my $in, '<', '/proc/self/smaps' or die; my $in_heap; my $kib = 0;
    while (<$in>) { $in_heap = /\[heap\]/ if /^[0-9a-f]+-/; $kib += $1 if $in_heap && /^AnonHugePages:\s+(\d+)/ } $kib * 1024 }
CODE

is in_process('print PagiBridge::Heap::collapse()'), 0, 'a small heap is left alone';

SKIP: {
    my $bytes = in_process(filled(32) . 'print PagiBridge::Heap::collapse()');
    skip 'this system has no huge pages to collapse to (Linux 6.1 on x86_64 or aarch64, not [never])', 4 if $bytes eq '0';
    cmp_ok $bytes, '>=', 8 << 20, 'a large heap is collapsed';
    is $bytes % (2 << 20), 0, 'in whole pages';
    my ($same, $is_huge) = split / /, in_process($huge . filled(32)
        . '$! = 7; my $bytes = PagiBridge::Heap::collapse(); my $errno = $! + 0;'
        . 'my $sum = 0; $sum += $_->[1] for @list; print $sum == @list * (@list + 1) / 2 && $errno == 7 ? 1 : 0, " ", huge() >= $bytes ? 1 : 0');
    is $same,    1, 'what is in it stays the same';
    is $is_huge, 1, 'the pages are huge';
}

# What the administrator has chosen.
my $dir = do { require File::Temp; File::Temp::tempdir(CLEANUP => 1) };
for my $case (['always madvise [never]', 'never'], ['', 'an empty file']) {
    open my $out, '>', "$dir/enabled" or die "open: $!";
    print {$out} $case->[0] or die "print: $!";
    close $out or die "close: $!";
    is in_process(filled(32) . "print PagiBridge::Heap::collapse(setting => '$dir/enabled')"), 0, $case->[1];
}
is in_process(filled(32) . "print PagiBridge::Heap::collapse(setting => '$dir/missing')"), 0, 'a system without the setting';

done_testing;
