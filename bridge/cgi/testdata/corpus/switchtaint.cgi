#!/usr/bin/perl -wT
#: GET ?name=x
#: persistent exec has -T
use strict; use CGI;
print "Content-Type: text/plain\n\n";
my $q = CGI->new; print "${^TAINT} $^W\n"; for my $value ($q->param('name'), $ENV{QUERY_STRING}, $ENV{HTTP_COOKIE}, $ENV{PATH}, $ENV{SCRATCH}, $0, $^X) { print eval { $ENV{PATH} = '/bin'; system 'true', $value; 1 } ? "fine\n" : "refused\n"; }
print eval { open my $f, '>', "$ENV{SCRATCH}/x" or die; 1 } ? "written\n" : "not written\n";
