#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
my $total = 0;
sub add { $total += shift } add($_) for 1 .. 4;
print "total $total\n";
my @subs = map { my $n = $_; sub { $n++ } } 1 .. 3; $_->() for @subs; print join(' ', map { $_->() } @subs), "\n";
