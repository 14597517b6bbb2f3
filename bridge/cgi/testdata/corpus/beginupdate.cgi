#!/usr/bin/perl
#: exec for writing
BEGIN { our $open = open(my $f, '+<', "$ENV{SCRATCH}/none") ? 1 : 0 }
print "Content-Type: text/plain\n\n";
print "open $open\n";
