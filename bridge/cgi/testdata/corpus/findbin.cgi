#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use FindBin;
use lib "$FindBin::Bin/lib";
use Local::Greeting;
print "$FindBin::Bin $FindBin::Script $FindBin::RealBin ", Local::Greeting::greet('FindBin'), "\n";
