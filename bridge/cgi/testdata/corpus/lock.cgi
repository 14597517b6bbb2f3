#!/usr/bin/perl
#: persistent exec INIT block
print "Content-Type: text/plain\n\n";
use Fcntl ':flock';
INIT { flock DATA, LOCK_EX | LOCK_NB or die "somebody has it\n" }
print "mine\n";
__DATA__
