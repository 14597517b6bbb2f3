#!/usr/bin/perl
# Leaves a daemon in a session of its own that holds all descriptors open.
use POSIX ();
$| = 1;
print "Content-Type: text/plain\n\n";
defined(my $pid = fork) or die "fork: $!";
if (!$pid) {
    POSIX::setsid();
    sleep 600;
    exit;
}
print "$pid\n";
