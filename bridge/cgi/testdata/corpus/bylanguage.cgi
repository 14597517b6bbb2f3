#!/usr/bin/perl
#: GET ?en
#: GET ?de
#: GET ?
#: GET ?xx
print "Content-Type: text/plain\n\n";
my ($language) = $ENV{QUERY_STRING} =~ /^([a-z]+)$/ or die "which?\n";
require "./lib/language_$language.pl";
print hello(), "\n";
