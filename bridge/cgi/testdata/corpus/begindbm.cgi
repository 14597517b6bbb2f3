#!/usr/bin/perl
#: keep
#: exec for writing
use SDBM_File; use Fcntl; our %n; BEGIN { tie %n, 'SDBM_File', "$ENV{SCRATCH}/n", O_RDWR | O_CREAT, 0600 or die; $n{n}++ }
print "Content-Type: text/plain\n\n";
print "$n{n}\n";
