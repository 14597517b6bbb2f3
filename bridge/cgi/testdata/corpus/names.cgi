#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
our $x = 'main'; package Other; our $x = 'other'; sub show { "$main::x $Other::x $::x\n" } package main; print Other::show(), &main::hidden; sub hidden { return "hidden\n" } *alias = \&hidden; print alias(), defined &main::hidden ? "defined\n" : '';
no strict 'refs'; my $name = 'hidden'; print &$name, "${'x'}\n"; print join(' ', sort grep { /^(alias|hidden)$/ } keys %main::), "\n";
