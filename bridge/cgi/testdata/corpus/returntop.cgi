#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print "before\n";
my $ok = eval 'return 5'; print "$ok\n";
return 1;
