#!/usr/bin/perl
#: exec it looks at HTTP_COOKIE
print "Content-Type: text/plain\n\n";
use constant FLAVOUR => exists $ENV{HTTP_COOKIE} ? 'with cookie' : 'without';
print FLAVOUR, "\n";
