#!/usr/bin/perl
# Closes its standard input before it answers.
close STDIN;
print "Content-Type: text/plain\n\nclosed\n";
