#!/usr/bin/perl
#: exec it waits
BEGIN { select undef, undef, undef, 0.01 }
print "Content-Type: text/plain\n\n";
print "awake\n";
