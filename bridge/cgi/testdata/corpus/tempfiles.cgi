#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use File::Temp 'tempfile';
my ($fh, $name) = tempfile(DIR => $ENV{SCRATCH}, UNLINK => 1); print {$fh} "x"; close $fh; print -s $name, "\n";
