#!/usr/bin/perl
# Answers each line at once.
$| = 1;
print "Content-Type: text/plain\n\n";
print "got $_" while <STDIN>;
