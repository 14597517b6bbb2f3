#!/usr/bin/perl -w
print "Content-Type: text/plain\n\n";
print "wide: \x{263a}\n";
