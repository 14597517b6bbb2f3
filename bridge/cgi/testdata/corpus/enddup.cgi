#!/usr/bin/perl -w
print "Content-Type: text/plain\n\n";
open our $same, '>&=', 1; open our $copy, '>&', \*STDOUT;
print "first\n"; print $same "same descriptor\n"; print $copy "copy\n"; print "last\n";
