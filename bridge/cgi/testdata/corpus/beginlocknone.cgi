#!/usr/bin/perl
BEGIN { our $works = eval { flock STDOUT, 0; 1 } }
print "Content-Type: text/plain\n\n";
print "works $works\n";
