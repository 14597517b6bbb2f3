#!/usr/bin/env perl
use strict;
use warnings;
binmode $_ for *STDIN, *STDOUT;
print "Status: 222\r\nContent-Type: application/octet-stream\r\n\r\n";
print join('|', @ENV{qw(REQUEST_METHOD QUERY_STRING PATH_INFO CONTENT_LENGTH)}), "\n";
print while read STDIN, $_, 65536;
