#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
package Failure; use overload '""' => sub { "a failure of $_[0]{what}\n" };
package main;
print eval { die bless { what => 'one' }, 'Failure' } // "caught: $@";
local $SIG{__DIE__} = sub { print "handler: $_[0]" };
die bless { what => 'two' }, 'Failure';
