#!/usr/bin/perl -T
#: persistent exec has -T
print "Content-Type: text/plain\n\n";
print "\${^TAINT} is ${^TAINT}\n"; eval { system $ENV{PATH} }; print $@ ? "refused\n" : "allowed\n";
