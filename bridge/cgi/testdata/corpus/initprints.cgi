#!/usr/bin/perl
#: GET ?a
#: GET ?b
#: persistent exec INIT block
INIT { print "Content-Type: text/plain\n\nINIT of $$ENV{none}$ENV{QUERY_STRING}\n" }
print "main\n";
