#!/usr/bin/perl
#: exec number of its process
our $mine; BEGIN { $mine = $$ }
print "Content-Type: text/plain\n\n";
print $mine == $$ ? "mine\n" : "another's\n";
