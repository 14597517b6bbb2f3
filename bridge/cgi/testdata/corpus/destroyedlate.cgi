#!/usr/bin/perl
# The same for a class that is made while the script runs.
print "Content-Type: text/plain\n\n";
eval 'package File::Late; sub new { bless [], shift } sub DESTROY { print STDOUT "destroyed\n" } 1' or die;
our $g = File::Late->new;
print "end\n";
