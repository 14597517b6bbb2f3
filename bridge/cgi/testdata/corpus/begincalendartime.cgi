#!/usr/bin/perl
#: exec looks at the clock
use Time::Local; our $then; BEGIN { $then = localtime }
print "Content-Type: text/plain\n\n";
print length $then, "\n";
