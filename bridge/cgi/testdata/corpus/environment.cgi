#!/usr/bin/perl
#: GET /more/info?a=b
#: POST ?x text/plain hello
print "Content-Type: text/plain\n\n";
print "$_=$ENV{$_}\n" for sort keys %ENV;
print sort `env`;
print "arguments: @ARGV\n";
