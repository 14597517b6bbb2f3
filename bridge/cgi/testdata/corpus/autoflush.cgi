#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
{ local $| = 1; print "unbuffered\n"; syswrite STDOUT, "direct\n" }
print "buffered "; print STDERR "between\n"; print "end $|\n";
{ my $old = select STDERR; print "selected\n"; select $old }
