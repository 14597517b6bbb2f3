#!/usr/bin/perl
#: exec it prints
BEGIN { print "Content-Type: text/plain\n\nearly\n"; exit 3 }
