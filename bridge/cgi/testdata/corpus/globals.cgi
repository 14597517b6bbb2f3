#!/usr/bin/perl
#: GET ?a
#: GET ?b
#: not persistent .*
print "Content-Type: text/plain\n\n";
our ($count, %seen); $count++; $seen{$ENV{QUERY_STRING}}++;
print "count $count, seen ", join(' ', sort keys %seen), "\n";
