#!/usr/bin/perl
#: exec sets an alarm
use Time::HiRes (); our $rang = 0; BEGIN { $SIG{ALRM} = sub { $rang++ }; Time::HiRes::ualarm(20_000) }
print "Content-Type: text/plain\n\n";
my $n = 0; while (!$rang && $n++ < 100) { select undef, undef, undef, 0.05 } print "rang $rang\n";
