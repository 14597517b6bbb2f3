#!/usr/bin/perl
#: exec looks at the clock
our @then; BEGIN { @then = times }
print "Content-Type: text/plain\n\n";
print scalar(@then), "\n";
