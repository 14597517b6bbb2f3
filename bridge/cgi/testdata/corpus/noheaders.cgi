#!/usr/bin/perl
print "just text, no header\n\nmore";
