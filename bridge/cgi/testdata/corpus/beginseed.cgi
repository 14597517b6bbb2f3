#!/usr/bin/perl
#: exec uses random numbers
BEGIN { srand 42 }
print "Content-Type: text/plain\n\n";
print int(1000 * rand), " ", int(1000 * rand), "\n";
