#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Fcntl ':flock';
open my $counter, '+>>', "$ENV{SCRATCH}/counter" or die $!;
flock $counter, LOCK_EX or die;
seek $counter, 0, 0; my $n = <$counter> || 0;
truncate $counter, 0; print {$counter} $n + 1;
close $counter;
open my $in, '<', "$ENV{SCRATCH}/counter"; print <$in>, "\n";
