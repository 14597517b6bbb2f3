#!/usr/bin/perl
#: GET ?a=1
BEGIN { for (qw(HTTP_COOKIE QUERY_STRING IFS ENV)) { $ENV{$_} = 'gone'; delete $ENV{$_} } delete local $ENV{HTTP_ACCEPT_LANGUAGE} }
#: exec looks at HTTP_ACCEPT_LANGUAGE
print "Content-Type: text/plain\n\n";
print map { "$_=[" . ($ENV{$_} // 'none') . "]\n" } qw(HTTP_COOKIE QUERY_STRING HTTP_ACCEPT_LANGUAGE);
