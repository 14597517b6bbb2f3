#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print 'x' x 1023, "\n" for 1 .. 1024;
