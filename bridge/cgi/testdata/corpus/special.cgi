#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use English qw(-no_match_vars);
print join '|', map { defined $_ ? $_ : 'undef' } $/, $\, $,, $", $;, $|, $^W, $., $@, $?, $^S, $^P, $^D, $^F, $^H & 0, ${^GLOBAL_PHASE}, ${^TAINT}, ${^UNICODE}, ${^OPEN}, $PROGRAM_NAME, scalar @ARGV;
print "\n", join("\n", @INC), "\n$^X\n";
print "started just now\n" if abs(time - $^T) < 5;
