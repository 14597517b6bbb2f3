#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print select, " $|\n";
select STDERR;
$| = 1;
print "a word\n";
