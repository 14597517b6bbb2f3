#!/usr/bin/perl
print "Content-Type: text/plain\n\n"; $| = 1;
pipe my $r, my $w;
if (!(my $pid = fork)) { close $w; my $line = <$r>; print "child\n"; exit 4 }
print "parent\n"; close $w; print 'waited ', wait() > 0, ' ', $? >> 8, "\n";
