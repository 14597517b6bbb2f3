#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print "before\n";
eval { exit 5 };
print "after\n";
