#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
$! = 0; $? = 0;
open my $none, '<', '/nonexistent' or die "cannot: $!\n";
