#!/usr/bin/perl
# Writes without an end, in small pieces.
$| = 1;
print "Content-Type: text/plain\n\n";
while (1) { print "tick\n"; select undef, undef, undef, 0.02 }
