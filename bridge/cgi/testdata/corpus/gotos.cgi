#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
my $i = 0; AGAIN: $i++; goto AGAIN if $i < 3; print "$i\n";
OUTER: for my $x (1 .. 3) { for my $y (1 .. 3) { next OUTER if $y == 2; print "$x$y " } } print "\n";
sub target { "target(@_)" } sub jump { goto &target } print jump(1), "\n"; { print "block\n"; last; print "no\n" }
