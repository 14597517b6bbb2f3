#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
sub by_number { $a <=> $b } sub proto($$) { my ($x, $y) = @_; $y <=> $x }
print join(' ', sort by_number 10, 9, 2), ' ', join(' ', sort proto 10, 9, 2), "\n";
my $by = sub { length $a <=> length $b || $a cmp $b }; print join(' ', sort $by qw(ccc a bb aa)), "\n";
print join(' ', reverse sort { lc $a cmp lc $b } qw(b A c)), "\n";
