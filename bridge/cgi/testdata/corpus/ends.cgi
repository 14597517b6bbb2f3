#!/usr/bin/perl
#: persistent differs package variables stay
print "Content-Type: text/plain\n\n";
END { print "first, status $?\n"; $? = 7 }
END { print "second, status $?\n" }
{ package Guard; sub new { bless {n => $_[1]}, $_[0] } sub DESTROY { print "destroyed $_[0]{n} in ${^GLOBAL_PHASE}\n" } }
my $lexical = Guard->new('lexical');
our $global = Guard->new('global');
{ my $inner = Guard->new('inner') }
exit 3;
