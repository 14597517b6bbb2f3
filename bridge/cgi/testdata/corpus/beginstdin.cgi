#!/usr/bin/perl
#: POST ? text/plain abc
#: exec it reads STDIN
print "Content-Type: text/plain\n\n";
my $line;
BEGIN { $line = <STDIN> }
print "line $line\n";
