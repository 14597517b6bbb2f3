#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print "before\n";
sub inner { die "gone wrong" }
inner();
