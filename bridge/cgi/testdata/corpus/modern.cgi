#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use v5.16;
say fc 'GROSS'; my $s = "\N{U+E9}"; say length $s; say __SUB__ // 'no sub'; say sub { __SUB__ ? 'sub' : '' }->();
