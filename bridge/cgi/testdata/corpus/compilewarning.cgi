#!/usr/bin/perl -w
print "Content-Type: text/plain\n\n";
$Some::name = 1;
my $x; my $x;
print "ran\n";
