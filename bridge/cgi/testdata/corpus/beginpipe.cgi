#!/usr/bin/perl
#: exec it opens a pipe
print "Content-Type: text/plain\n\n";
BEGIN { pipe READ, WRITE }
print {*WRITE} "through\n"; close WRITE; print <READ>;
