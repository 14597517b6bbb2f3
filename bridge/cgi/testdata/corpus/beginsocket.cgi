#!/usr/bin/perl
#: exec it uses a socket
print "Content-Type: text/plain\n\n";
use Socket;
BEGIN { socket $main::s, PF_INET, SOCK_STREAM, 0 or die }
print "fileno ", fileno $main::s, "\n";
