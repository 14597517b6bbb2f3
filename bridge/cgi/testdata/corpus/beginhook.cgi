#!/usr/bin/perl
#: persistent differs a module is loaded before
BEGIN { unshift @INC, sub { warn "asked for $_[1]"; return } }
use strict; use warnings; use Text::Wrap;
print "Content-Type: text/plain\n\n";
print "ok\n"; eval { require Nowhere::To::Be::Found };
