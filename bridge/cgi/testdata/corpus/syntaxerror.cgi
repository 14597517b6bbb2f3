#!/usr/bin/perl
#: exec compilation ends the process.*(EOF|terminator)
print "Content-Type: text/plain\n\n";
print "this has no end;
