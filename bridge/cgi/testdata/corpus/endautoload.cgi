#!/usr/bin/perl
package Auto; our $AUTOLOAD; sub new { bless {}, shift } sub AUTOLOAD { print STDOUT "called $AUTOLOAD\n" }
package main;
print "Content-Type: text/plain\n\n"; our $o = Auto->new; print "end\n";
