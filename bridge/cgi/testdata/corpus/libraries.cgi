#!/usr/bin/perl
# A run that changes @INC in place.
print "Content-Type: text/plain\n\n", scalar(grep { $_ eq '/nowhere' } @INC), "\n";
$INC[0] = '/nowhere';
