#!/usr/bin/perl
#: GET ?a=1
BEGIN { for (qw(HTTP_COOKIE QUERY_STRING)) { $ENV{$_} = 'gone'; delete $ENV{$_} } $ENV{HTTP_USER_AGENT} = 'own' }
print "Content-Type: text/plain\n\n";
print map { "$_=[" . ($ENV{$_} // 'none') . "]\n" } qw(HTTP_COOKIE QUERY_STRING HTTP_USER_AGENT); print sort grep { /^(HTTP_COOKIE|QUERY_STRING|HTTP_USER_AGENT)=/ } `env`;
