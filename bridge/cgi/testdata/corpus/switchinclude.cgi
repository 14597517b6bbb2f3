#!/usr/bin/perl -w -I lib/
print "Content-Type: text/plain\n\n";
print "no\n";
