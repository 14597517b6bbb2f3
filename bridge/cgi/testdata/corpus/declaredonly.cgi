#!/usr/bin/perl -w
# A destructor that is declared and not defined, under -w.
print "Content-Type: text/plain\n\n";
package Declared;
sub DESTROY;
sub AUTOLOAD;
package main;
print "end\n";
