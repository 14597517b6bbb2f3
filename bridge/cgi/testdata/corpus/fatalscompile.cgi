#!/usr/bin/perl
#: exec compilation ends the process
use CGI::Carp 'fatalsToBrowser';
use No::Such::Module;
print "x";
