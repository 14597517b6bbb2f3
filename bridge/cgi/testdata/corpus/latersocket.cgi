#!/usr/bin/perl
# Sockets by a name and by a variable, while the script runs.
use strict;
socket(SERVER, 2, 1, 0) or die $!;
socket(my $client, 2, 1, 0) or die $!;
print "Content-Type: text/plain\n\n", fileno(SERVER) > 2 ? 'named' : 'not named', ' ', fileno($client) > fileno(SERVER) ? 'another' : 'the same', "\n";
