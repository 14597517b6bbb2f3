#!/usr/bin/perl
#: exec compilation ends the process.*Global symbol
print "Content-Type: text/plain\n\n";
use strict;
print $undeclared;
