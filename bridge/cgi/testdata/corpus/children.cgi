#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
$| = 1;
for my $n (1 .. 3) {
    my $pid = fork; defined $pid or die;
    if (!$pid) { print "child $n\n"; exit $n }
    waitpid $pid, 0; print 'status ', $? >> 8, "\n";
}
local $SIG{CHLD} = 'IGNORE';
if (my $pid = fork) { waitpid $pid, 0; print "ignored: $?\n" } else { exit 9 }
END { print "end of ", (getppid == $main::parent ? 'child' : 'parent'), "\n" if $main::parent }
