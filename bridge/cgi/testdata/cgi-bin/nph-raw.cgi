#!/usr/bin/perl
# Writes its query string, decoded, and nothing else.
binmode STDOUT;
(my $out = $ENV{QUERY_STRING}) =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
print $out;
