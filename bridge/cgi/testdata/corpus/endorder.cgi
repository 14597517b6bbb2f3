#!/usr/bin/perl
#: persistent differs objects stay
package Tell; sub new { bless [$_[1]], $_[0] } sub DESTROY { print "$_[0][0] ${^GLOBAL_PHASE}\n" }
package main;
print "Content-Type: text/plain\n\n";
my $file = Tell->new('file'); { my $block = Tell->new('block') } $main::loop = []; push @$main::loop, $main::loop, Tell->new('last');
END { print "END $?\n"; $? = 3 } exit 2;
