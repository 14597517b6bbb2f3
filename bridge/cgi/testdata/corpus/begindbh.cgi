#!/usr/bin/perl
#: exec .
use Socket; BEGIN { socket my $s, PF_UNIX, SOCK_STREAM, 0; connect $s, pack_sockaddr_un("$ENV{SCRATCH}/none"); our $error = "$!" }
print "Content-Type: text/plain\n\n";
print "$error\n";
