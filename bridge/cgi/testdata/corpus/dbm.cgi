#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Fcntl; use SDBM_File;
tie my %db, 'SDBM_File', "$ENV{SCRATCH}/db", O_RDWR | O_CREAT, 0644 or die $!; $db{visits}++; print "visits $db{visits}\n"; untie %db;
