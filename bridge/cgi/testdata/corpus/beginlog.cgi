#!/usr/bin/perl
#: exec it opens .* for writing
print "Content-Type: text/plain\n\n";
BEGIN { open LOG, '>>', "$ENV{SCRATCH}/log" or die }
print LOG "one\n"; close LOG;
open my $in, '<', "$ENV{SCRATCH}/log"; print <$in>;
