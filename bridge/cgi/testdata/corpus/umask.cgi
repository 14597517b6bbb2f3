#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
umask 027;
open my $out, '>', "$ENV{SCRATCH}/made" or die; close $out;
printf "%04o\n", (stat "$ENV{SCRATCH}/made")[2] & 07777;
