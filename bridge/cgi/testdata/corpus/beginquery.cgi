#!/usr/bin/perl
#: GET ?one
#: GET ?two
#: exec it looks at QUERY_STRING
print "Content-Type: text/plain\n\n";
my $query;
BEGIN { $query = $ENV{QUERY_STRING} }
print "query $query\n";
