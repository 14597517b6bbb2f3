#!/usr/bin/perl
use Time::Local;
print "Content-Type: text/plain\n\n";
print timegm(0, 0, 0, 1, 0, 2030), " ", timegm(0, 0, 0, 1, 0, 30), "\n";
