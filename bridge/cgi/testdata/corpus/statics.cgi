#!/usr/bin/perl
#: persistent differs state variables stay
print "Content-Type: text/plain\n\n";
use feature 'state';
sub next_number { state $n = 0; return ++$n } print next_number(), next_number(), "\n";
