#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Carp qw(carp cluck confess croak);
sub inner { carp 'carped'; cluck 'clucked'; confess 'confessed' } sub outer { inner(1, 'two') }
eval { outer() }; print $@;
sub complain { croak 'croaked' } complain();
