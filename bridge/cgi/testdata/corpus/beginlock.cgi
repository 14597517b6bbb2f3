#!/usr/bin/perl
#: exec locks a file
use Fcntl ':flock'; BEGIN { open our $f, '<', __FILE__ or die; our $locked = flock $f, LOCK_SH | LOCK_NB }
print "Content-Type: text/plain\n\n";
print $locked ? "locked\n" : "not\n";
