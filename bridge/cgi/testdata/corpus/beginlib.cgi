#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use lib "$ENV{DOCUMENT_ROOT}/lib";
use Local::Greeting;
print Local::Greeting::greet('world'), "\n";
