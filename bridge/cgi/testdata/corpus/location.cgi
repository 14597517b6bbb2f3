#!/usr/bin/perl
print "Location: http://example.com/there\n\n";
