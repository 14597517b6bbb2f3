#!/usr/bin/perl
#: GET ?a
#: GET ?b
#: persistent differs package variables stay
print "Content-Type: text/plain\n\n";
our ($count, %seen); $count++; $seen{$ENV{QUERY_STRING}}++;
print "count $count, seen ", join(' ', sort keys %seen), "\n";
