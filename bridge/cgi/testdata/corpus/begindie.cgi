#!/usr/bin/perl
#: exec compilation ends the process.*not today
print "Content-Type: text/plain\n\n";
BEGIN { die "not today\n" }
