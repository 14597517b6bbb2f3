#!/usr/bin/env perl
print "Content-Type: text/plain\n\n";
print "through env\n";
