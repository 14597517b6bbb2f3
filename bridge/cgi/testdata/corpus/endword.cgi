#!/usr/bin/perl
print "Content-Type: text/plain\n\nbefore the end\n";
__END__ of the program
print "never\n";
