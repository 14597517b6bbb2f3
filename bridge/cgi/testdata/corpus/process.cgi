#!/usr/bin/perl
#: persistent differs there is one more socket
print "Content-Type: text/plain\n\n";
printf "parent %d, leader %d, umask %o, \$0 %s\n", getppid, getpgrp == $$, umask, $0;
print "descriptors: @{[grep { -e qq(/proc/self/fd/$_) } 0 .. 100]}\n";
open my $first, '<', $0 or die;
print "first ", fileno $first, ", inherited by a program: ", `ls /proc/self/fd | tr '\n' ' '`, "\n";
print "signals: ", join(' ', map { "$_=" . ($SIG{$_} // 'default') } qw(PIPE CHLD TERM INT HUP ALRM)), "\n";
print "children's signals: ", `grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status`;
