#!/usr/bin/perl
# Writes 4 MB before it reads anything.
binmode STDOUT;
binmode STDIN;
print "Content-Type: application/octet-stream\n\n";
print 'x' x 65536 for 1 .. 64;
my ($size, $piece) = (0);
$size += length $piece while sysread STDIN, $piece, 65536;
print "\nread $size\n";
