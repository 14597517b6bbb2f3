#!/usr/bin/perl
#: exec changes files
BEGIN { our $touched = utime 1, 1, "$ENV{SCRATCH}/none" }
print "Content-Type: text/plain\n\n";
print "touched $touched\n";
