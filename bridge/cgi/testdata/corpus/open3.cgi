#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use IPC::Open3; use Symbol 'gensym';
my $pid = open3(my $in, my $out, my $err = gensym, 'sh', '-c', 'cat; echo oops >&2');
print {$in} "in\n"; close $in; print <$out>, <$err>; waitpid $pid, 0; print "status $?\n";
