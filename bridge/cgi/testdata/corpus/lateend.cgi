#!/usr/bin/perl
# An END block that is made while the script runs.
print "Content-Type: text/plain\n\n";
eval 'END { print "the late one\n" } 1' or die;
END { print "the early one\n" }
print "end\n";
