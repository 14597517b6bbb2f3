#!/usr/bin/perl
# CGI.pm, loaded while the script runs: no request sees another's parameters.
#: GET ?name=first&secret=1
#: GET ?name=second
#: POST ?x=1 application/x-www-form-urlencoded name=third
require CGI;
my $q = CGI->new;
print $q->header('text/plain'), join(' ', map { "$_=" . $q->param($_) } sort $q->param), "\n";
