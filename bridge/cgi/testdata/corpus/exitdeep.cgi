#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
sub leave { for (1 .. 3) { map { exit 4 if $_ == 2 } 1 .. 3 } }
my @sorted = sort { leave(); $a <=> $b } 3, 2, 1;
print "not reached\n";
