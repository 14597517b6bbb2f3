#!/usr/bin/perl
#: exec changes files
BEGIN { our $changed = chmod 0640, "$ENV{SCRATCH}/none" }
print "Content-Type: text/plain\n\n";
print "changed $changed\n";
