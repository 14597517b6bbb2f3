#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print STDERR "one line\n"; printf STDERR "%s line\n", 'second'; syswrite STDERR, "third\nno end"; print "out\n";
