#!/usr/bin/perl
#: exec it starts processes
print "Content-Type: text/plain\n\n";
use constant HOST => `echo here`;
print HOST;
