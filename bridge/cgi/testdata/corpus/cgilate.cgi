#!/usr/bin/perl
#: GET ?name=a;name=b
# CGI.pm is loaded while the script runs, and warns once.
require CGI;
my $query = CGI->new;
print $query->header('text/plain');
print join('|', $query->param('name'), $CGI::LIST_CONTEXT_WARN), "\n";
