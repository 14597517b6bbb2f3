#!/usr/bin/perl
#: exec closes or redirects
print "Content-Type: text/plain\n\n";
BEGIN { open STDERR, '>&', \*STDOUT }
print STDERR "to the client\n";
