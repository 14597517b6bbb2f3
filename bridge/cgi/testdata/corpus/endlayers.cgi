#!/usr/bin/perl
#: GET ?UTF-16
#: GET ?iso-2022-jp
#: GET ?crlf
my $layer = $ENV{QUERY_STRING} eq 'crlf' ? ':crlf' : ":encoding($ENV{QUERY_STRING})";
$| = 1; print "Content-Type: application/octet-stream\n\n"; $| = 0;
binmode STDOUT, $layer; print "\x{3042}\x{3044}\n";
