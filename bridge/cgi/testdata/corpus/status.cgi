#!/usr/bin/perl
print "Status: 404 Not Here\nContent-Type: text/plain\nX-One: 1\nX-One: 2\n\nnothing\n";
