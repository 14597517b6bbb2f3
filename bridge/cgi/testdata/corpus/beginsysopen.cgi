#!/usr/bin/perl
#: keep
#: exec for writing
use Fcntl; our $first; BEGIN { $first = sysopen my $f, "$ENV{SCRATCH}/once", O_RDONLY | O_CREAT | O_EXCL }
print "Content-Type: text/plain\n\n";
print $first ? "first\n" : "later\n";
