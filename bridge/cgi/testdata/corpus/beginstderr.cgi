#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
BEGIN { print STDERR "hello from BEGIN\n" }
print "ran\n";
