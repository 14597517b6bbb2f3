#!/usr/bin/perl
binmode STDOUT;
print "Content-Type: application/octet-stream\r\n\r\n", map { chr } 0 .. 255;
