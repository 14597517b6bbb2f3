#!/usr/bin/perl
# Leaves a daemon behind as daemons should be: two forks, a session of its own, nothing
# held open. It ends when the file named by the query is there, at the latest soon.
use POSIX ();
$| = 1;
print "Content-Type: text/plain\n\nstarted\n";
defined(my $pid = fork) or die "fork: $!";
if ($pid) { waitpid $pid, 0; exit }
POSIX::setsid();
defined($pid = fork) or die "fork: $!";
exit if $pid;
close $_ for *STDIN, *STDOUT, *STDERR;
for (1 .. 200) { last if !$ENV{QUERY_STRING} or -e $ENV{QUERY_STRING}; select undef, undef, undef, 0.05 }
if ($ENV{QUERY_STRING}) { open my $fh, '>', "$ENV{QUERY_STRING}.seen"; close $fh }
