#!/usr/bin/perl
#: exec looks at the clock
use warnings; use CGI::Carp; BEGIN { my $x; my $y = "a$x" }
print "Content-Type: text/plain\n\n";
print "ok\n";
