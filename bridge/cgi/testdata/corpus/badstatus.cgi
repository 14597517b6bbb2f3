#!/usr/bin/perl
print "Status: soon\nContent-Type: text/plain\n\n";
