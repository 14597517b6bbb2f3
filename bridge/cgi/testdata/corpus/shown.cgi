#!/usr/bin/perl
#: persistent differs it has a name of its own
print "Content-Type: text/plain\n\n";
for my $file (qw(cmdline comm)) { open my $f, '<', "/proc/self/$file" or die; local $/; my $x = <$f>; $x =~ s/\0/|/g; chomp $x; print "$x\n" }
$0 = 'another name'; open my $f, '<', '/proc/self/comm'; print <$f>; open $f, '<', '/proc/self/cmdline'; my $x = <$f>; $x =~ s/\0+\z//; print "$x\n";
