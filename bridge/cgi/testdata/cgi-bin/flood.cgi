#!/usr/bin/perl
print STDERR "line $_\n" for 1 .. 20000;
print STDERR 'x' x 100_000, "\n";
print "Content-Type: text/plain\n\nok\n";
