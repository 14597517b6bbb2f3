#!/usr/bin/perl
#: GET ?j
print "Content-Type: text/plain\n\n";
use JSON::PP; my $json = JSON::PP->new->canonical->utf8;
print $json->encode({ list => [1, 'two', undef], query => $ENV{QUERY_STRING}, true => JSON::PP::true }), "\n"; print $json->decode('{"a":[1,2]}')->{a}[1], "\n";
