#!/usr/bin/perl
#: exec looks at the clock
our $then; BEGIN { $then = time }
print "Content-Type: text/plain\n\n";
print time - $then < 3 ? "now\n" : "long ago\n";
