#!/usr/bin/perl
#: exec changes files
BEGIN { our $cut = truncate("$ENV{SCRATCH}/none", 0) ? 1 : 0 }
print "Content-Type: text/plain\n\n";
print "cut $cut\n";
