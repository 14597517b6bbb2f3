#!/usr/bin/perl
#: GET ?kept
#: exec it keeps a reference to %ENV
print "Content-Type: text/plain\n\n";
my $ref;
BEGIN { $ref = \%ENV }
print $ref->{QUERY_STRING}, "\n";
