#!/usr/bin/perl
#: exec looks at the clock
use Time::HiRes (); our $then; BEGIN { $then = Time::HiRes::time() }
print "Content-Type: text/plain\n\n";
print Time::HiRes::time() - $then < 3 ? "now\n" : "long ago\n";
