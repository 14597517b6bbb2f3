#!/usr/bin/perl
BEGIN { select STDERR; $| = 1 }
print "for the log\n"; print STDOUT "Content-Type: text/plain\n\nfor the client\n";
