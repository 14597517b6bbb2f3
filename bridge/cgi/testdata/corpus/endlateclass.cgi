#!/usr/bin/perl
use CGI ();
print "Content-Type: text/plain\n\n";
eval 'package CGI::Late; sub new { bless {}, shift } sub DESTROY { print STDOUT "destroyed\n" } 1' or die;
our $late = CGI::Late->new; print "end\n";
