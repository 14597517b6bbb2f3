#!/usr/bin/perl
use CGI::Carp 'fatalsToBrowser'; die "before any header\n";
