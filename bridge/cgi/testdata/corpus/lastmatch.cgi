#!/usr/bin/perl
#: GET ?id=17
#: GET
#: GET ?id=x
# What a pattern has captured for one client is not there for the next.
print "Content-Type: text/plain\n\n";
print "before: ", defined $1 ? $1 : 'nothing', "\n";
$ENV{QUERY_STRING} =~ /id=([0-9]+)/;
print "id: ", defined $1 ? $1 : 'nothing', "\n";
my @words = grep { m?a? } qw(a a);
print scalar(@words), "\n";
print join('|', 'xay' =~ //), "\n";
