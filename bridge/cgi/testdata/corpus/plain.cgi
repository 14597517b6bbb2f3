#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use strict;
use warnings;
print "line ", __LINE__, " of ", __FILE__, " as $0, package ", __PACKAGE__, "\n";
