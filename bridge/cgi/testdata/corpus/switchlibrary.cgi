#!/usr/bin/perl -Ilib -w
use Local::First;
print "Content-Type: text/plain\n\n";
print "$Local::order $INC[0] $^W\n";
