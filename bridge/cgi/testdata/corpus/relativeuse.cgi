#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use lib './lib';
use Local::Greeting qw(greet);
print greet('use lib'), " from $INC{'Local/Greeting.pm'}\n";
