#!/usr/bin/perl
#: exec removes a directory|removes a file
BEGIN { our $gone = 0 + rmdir "$ENV{SCRATCH}/none" }
print "Content-Type: text/plain\n\n";
print "gone $gone\n";
