#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Time::HiRes 'alarm'; $| = 1;
eval { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 0.05; select undef, undef, undef, 5; alarm 0 };
print "caught $@";
