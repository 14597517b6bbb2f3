#!/usr/bin/perl --
print "Content-Type: text/plain\n\n";
open my $f, '<', '/proc/self/cmdline' or die; my $x = <$f>; print join('|', grep { !m{/} } split /\0/, $x), "\n";
#: persistent differs it has a name of its own
