#!/usr/bin/env -S perl -w
print "Content-Type: text/plain\n\n";
print "$^W\n"; my $x; print "a$x\n";
