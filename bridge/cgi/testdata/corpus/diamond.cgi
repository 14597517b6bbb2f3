#!/usr/bin/perl
#: POST ? text/plain one\ntwo\nthree
print "Content-Type: text/plain\n\n";
print "$.: $_" while <>; print "\n$ARGV\n";
die "with line";
