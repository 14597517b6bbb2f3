#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
package Money; use overload '+' => sub { Money->new($_[0]{n} + (ref $_[1] ? $_[1]{n} : $_[1])) }, '""' => sub { "EUR $_[0]{n}" }, '<=>' => sub { $_[0]{n} <=> $_[1]{n} };
sub new { bless { n => $_[1] }, $_[0] } package main;
print Money->new(3) + 4, ' ', Money->new(1) + Money->new(1), "\n";
