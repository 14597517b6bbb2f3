#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Time::HiRes 'alarm'; $| = 1; print "waiting\n"; alarm 0.05; sleep 5; print "not reached\n";
