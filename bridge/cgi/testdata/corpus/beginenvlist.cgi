#!/usr/bin/perl
#: exec it lists all of %ENV
print "Content-Type: text/plain\n\n";
my %copy;
BEGIN { %copy = %ENV }
print join ' ', sort keys %copy;
