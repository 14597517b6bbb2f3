#!/usr/bin/perl
#: GET
#: GET ?again
# Handles that are never closed: perl flushes and closes them at the end.
print "Content-Type: text/plain\n\n";
print "lines so far: ", -s "$ENV{SCRATCH}/log" || 0, "\n";
open LOG, '>>', "$ENV{SCRATCH}/log" or die;
flock LOG, 2 or die;
print LOG "a line\n";
open READ, '<', $0 or die;
my $first = <READ>;
print "line $.\n";
open SAVED, '>&', \*STDOUT or die;
print SAVED "by way of another handle\n";
our $kept;
open $kept, '>>', "$ENV{SCRATCH}/kept" or die;
print $kept "kept\n";
END { print "at the end\n" }
