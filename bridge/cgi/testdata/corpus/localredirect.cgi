#!/usr/bin/perl
print "Location: /plain.cgi\n\n";
