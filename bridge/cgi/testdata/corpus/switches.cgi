#!/usr/bin/perl -s
#: exec switches other than .*: -s
print "Content-Type: text/plain\n\n";
print "$name\n";
