#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
require './lib/util.pl';
print greeting('relative'), "\n";
do './lib/settings.pl' or die "settings: $@ $!";
our %settings; print "$_=$settings{$_}\n" for sort keys %settings;
