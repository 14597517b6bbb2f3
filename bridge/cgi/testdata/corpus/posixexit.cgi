#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use POSIX ();
$| = 1; print "written\n";
END { print "never\n" }
POSIX::_exit(2);
