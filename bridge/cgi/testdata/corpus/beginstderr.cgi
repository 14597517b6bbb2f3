#!/usr/bin/perl
#: exec writes to standard error.*hello from BEGIN
print "Content-Type: text/plain\n\n";
BEGIN { print STDERR "hello from BEGIN\n" }
print "ran\n";
