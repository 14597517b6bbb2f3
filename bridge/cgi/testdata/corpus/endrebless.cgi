#!/usr/bin/perl
package Base; package Derived; our @ISA;
package main;
print "Content-Type: text/plain\n\n";
our $o = bless {}, 'Derived'; @Derived::ISA = ('Base'); *{"Base::DESTROY"} = sub { print "destroyed by a glob\n" }; print "end\n";
