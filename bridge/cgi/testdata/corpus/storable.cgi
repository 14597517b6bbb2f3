#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Storable qw(nstore retrieve dclone);
nstore { a => [1, 2] }, "$ENV{SCRATCH}/stored"; print retrieve("$ENV{SCRATCH}/stored")->{a}[1], dclone([5])->[0], "\n";
