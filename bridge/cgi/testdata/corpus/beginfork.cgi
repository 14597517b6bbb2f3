#!/usr/bin/perl
#: exec it opens a pipe
print "Content-Type: text/plain\n\n";
use constant HOST => `echo here`;
print HOST;
