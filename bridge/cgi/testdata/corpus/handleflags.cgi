#!/usr/bin/perl
# Flags of the standard handles, and variables that say how files are opened.
use Fcntl;
print "Content-Type: text/plain\n\n";
for my $handle (*STDOUT, *STDERR) {
    my $flags = fcntl $handle, F_GETFL, 0;
    my $kept  = fcntl $handle, F_GETFD, 0;
    print join(' ', $flags & O_NONBLOCK ? 'does not wait' : 'waits', $flags & O_APPEND ? 'appends' : 'writes', 0 + $kept), "\n";
}
print join('|', $^F, defined $^I ? $^I : 'undefined', $^W), "\n";
$| = 1;
fcntl STDERR, F_SETFL, O_NONBLOCK | O_APPEND;
fcntl STDOUT, F_SETFD, FD_CLOEXEC;
fcntl STDERR, F_SETFD, FD_CLOEXEC;
($^F, $^I, $^W) = (99, '.bak', 1);
