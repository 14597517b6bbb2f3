#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use threads;
my $thread = threads->create(sub { return 'from a thread ' . shift }, 'here'); print $thread->join, "\n";
