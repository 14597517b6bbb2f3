#!/usr/bin/perl
# Every variable of the environment, NUL-terminated.
print "Content-Type: application/octet-stream\r\n\r\n";
print "$_=$ENV{$_}\0" for sort keys %ENV;
