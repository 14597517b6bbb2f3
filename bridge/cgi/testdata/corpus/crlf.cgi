#!/usr/bin/perl
#: exec CR LF
print "Content-Type: text/plain\n\nnever\n";
