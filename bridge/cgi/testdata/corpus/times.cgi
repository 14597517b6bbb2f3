#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Time::HiRes qw(time sleep);
my $t = time; sleep 0.01; print time - $t >= 0.01 ? "slept\n" : "no\n"; print scalar(gmtime 0), "\n"; my @t = times; print $t[0] < 5 ? "young\n" : "old\n";
