#!/usr/bin/perl
#: exec it prints "Content-Type
BEGIN { print "Content-Type: text/plain\n\n" }
print "late\n";
