#!/usr/bin/perl
print "Content-Length: 100\nContent-Type: text/plain\n\nshort\n";
