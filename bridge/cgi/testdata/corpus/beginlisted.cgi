#!/usr/bin/perl
our @all; BEGIN { opendir my $d, '.' or die; @all = grep { /^plain/ } readdir $d }
print "Content-Type: text/plain\n\n";
print "@all\n";
