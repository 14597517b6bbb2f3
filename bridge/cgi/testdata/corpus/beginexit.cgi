#!/usr/bin/perl
#: exec compilation ends the process
BEGIN { print "Content-Type: text/plain\n\nearly\n"; exit 3 }
