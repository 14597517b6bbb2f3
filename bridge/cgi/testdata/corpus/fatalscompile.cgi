#!/usr/bin/perl
#: exec it looks at the clock
use CGI::Carp 'fatalsToBrowser';
use No::Such::Module;
print "x";
