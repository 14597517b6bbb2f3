#!/usr/bin/perl
#: keep
use Class::Struct; package Mine; package main;
print "Content-Type: text/plain\n\n";
eval q{package Mine::Late; sub new { bless {}, shift } sub DESTROY { open my $f, '>>', "$ENV{SCRATCH}/saved"; print $f 'x' } 1} or die;
our $late = Mine::Late->new; print -s "$ENV{SCRATCH}/saved" || 0, "\n";
