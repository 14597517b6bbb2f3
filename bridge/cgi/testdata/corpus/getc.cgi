#!/usr/bin/perl
#: POST ? text/plain abcd
print "Content-Type: text/plain\n\n";
print join ',', map { getc } 1 .. 4; print "\n", defined getc() ? 'more' : 'end', "\n";
