#!/usr/bin/perl
# The last close of a handle with a name fails.
print "Content-Type: text/plain\n\n";
open LOG, '>', '/dev/full' or die;
print LOG "a line\n";
print "end\n";
