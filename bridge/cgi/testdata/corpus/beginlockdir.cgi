#!/usr/bin/perl
#: keep
#: exec makes a directory
our $ours;
BEGIN {
    $ours = mkdir "$ENV{SCRATCH}/lock";
    if (!$ours) { print "Content-Type: text/plain\n\nsomebody else is at it\n"; exit }
    my $length = $ENV{QUERY_STRING};
}
END { rmdir "$ENV{SCRATCH}/lock" if $ours }
print "Content-Type: text/plain\n\n";
print -d "$ENV{SCRATCH}/lock" ? "locked\n" : "not locked\n";
