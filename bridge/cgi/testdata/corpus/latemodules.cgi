#!/usr/bin/perl
#: keep
#: persistent differs modules stay
#: GET ?a
#: GET ?b
use lib 'lib';
print "Content-Type: text/plain\n\n";
require($ENV{QUERY_STRING} eq 'a' ? 'Local/First.pm' : 'Local/Second.pm'); print "$Local::order\n"; require Local::First; require Local::Second; print "$Local::order\n";
