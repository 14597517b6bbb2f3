#!/usr/bin/perl
#: keep
BEGIN { exit 0 if -e "$ENV{SCRATCH}/off" } END { open my $f, '>', "$ENV{SCRATCH}/off" }
print "Content-Type: text/plain\n\n";
print "on\n";
