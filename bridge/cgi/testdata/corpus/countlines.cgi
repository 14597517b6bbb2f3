#!/usr/bin/perl
# $. begins anew.
print "Content-Type: text/plain\n\n";
print defined $. ? "$.\n" : "none yet\n";
while (<DATA>) { print "$.: $_" }
warn 'with the line of the input';
__DATA__
one
two
