#!/usr/bin/perl -T
#: exec switches other than -w: -T
print "Content-Type: text/plain\n\n";
print "\${^TAINT} is ${^TAINT}\n"; eval { system $ENV{PATH} }; print $@ ? "refused\n" : "allowed\n";
