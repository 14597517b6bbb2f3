#!/usr/bin/perl -s
#: exec switches other than -w: -s
print "Content-Type: text/plain\n\n";
print "$name\n";
