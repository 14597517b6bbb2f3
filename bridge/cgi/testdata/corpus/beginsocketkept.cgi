#!/usr/bin/perl
#: exec keeps a socket open
use Socket; our $s; BEGIN { socket $s, PF_UNIX, SOCK_STREAM, 0 or die }
print "Content-Type: text/plain\n\n";
unlink "$ENV{SCRATCH}/s"; print bind($s, pack_sockaddr_un("$ENV{SCRATCH}/s")) ? "bound\n" : "$!\n";
