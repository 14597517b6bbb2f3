#!/usr/bin/perl
#: persistent exec it prints
BEGIN { print "Content-Type: text/plain\n\n" }
print "late\n";
