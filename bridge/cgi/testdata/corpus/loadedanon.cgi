#!/usr/bin/perl
#: persistent differs a module is loaded before
use Carp; our $code = sub { (caller 0)[3] }; my %h = (f => sub { Carp::longmess('here') });
print "Content-Type: text/plain\n\n";
print map { "$_\n" } sort keys %main::; print $code->(), "\n", $h{f}->(), (eval q{ sub { (caller 0)[3] } })->(), do { no strict; local *__ANON__ = "named"; $code->() }, "\n";
