#!/usr/bin/perl
#: keep
#: GET ?item=4
#: exec for writing
BEGIN {
    open my $log, '>>', "$ENV{SCRATCH}/orders" or die;
    print $log $ENV{QUERY_STRING}, "\n";
    close $log;
    open $log, '<', "$ENV{SCRATCH}/orders" or die;
    print "Content-Type: text/plain\n\n", <$log>;
    exit;
}
