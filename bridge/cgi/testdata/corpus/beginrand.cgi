#!/usr/bin/perl
#: exec it uses random numbers
print "Content-Type: text/plain\n\n";
use constant TOKEN => int rand 1;
print TOKEN, "\n";
