#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
$| = 1; print "written\n"; kill TERM => $$; sleep 5;
