#!/usr/bin/perl
#: GET ?a=1
BEGIN { local $ENV{SCRIPT_NAME} = 'x'; local $ENV{LANGUAGE} = 'de' }
print "Content-Type: text/plain\n\n";
print map { "$_=[" . ($ENV{$_} // 'none') . "]\n" } qw(SCRIPT_NAME LANGUAGE QUERY_STRING);
