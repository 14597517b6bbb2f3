#!/usr/bin/perl
#: exec looks at the clock
our $then; BEGIN { $then = $^T }
print "Content-Type: text/plain\n\n";
print $^T - $then, "\n";
