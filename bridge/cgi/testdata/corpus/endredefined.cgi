#!/usr/bin/perl
#: persistent differs objects stay
use IO::Handle;
print "Content-Type: text/plain\n\n";
{ no warnings 'redefine'; *IO::Handle::DESTROY = sub { print STDOUT "redefined\n" } }
our $o = bless {}, 'IO::Handle'; print "end\n";
