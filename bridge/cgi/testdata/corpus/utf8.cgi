#!/usr/bin/perl
#: POST ? text/plain stra\u00dfe
print "Content-Type: text/plain\n\n";
use utf8;
use open qw(:std :encoding(UTF-8));
my $body = do { local $/; <STDIN> };
print "größe ", length $body, " ", uc $body, "\n";
print STDERR "würde\n";
