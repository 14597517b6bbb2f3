#!/usr/bin/perl
#: keep
use File::Temp;
print "Content-Type: text/plain\n\n", scalar(() = glob "$ENV{SCRATCH}/*"), "\n";
our $temp = File::Temp->new(DIR => $ENV{SCRATCH}); print $temp "data\n"; print -e "$temp" ? "is there\n" : "is not\n";
