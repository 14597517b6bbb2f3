#!/usr/bin/perl
print "Content-Type: text/plain\n\nhalf\n";
die "the disk is full\n";
