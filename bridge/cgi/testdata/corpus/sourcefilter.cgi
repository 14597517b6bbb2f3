#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use lib './lib';
use Local::Filter;
print "shouted\n";
