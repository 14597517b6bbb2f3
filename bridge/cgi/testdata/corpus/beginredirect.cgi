#!/usr/bin/perl
#: exec closed or redirected
print "Content-Type: text/plain\n\n";
BEGIN { open STDERR, '>&', \*STDOUT }
print STDERR "to the client\n";
