#!/usr/bin/perl
# A handler that is set while the script is compiled sees the script's own children only.
our $seen;
BEGIN { $seen = 0; $SIG{CHLD} = sub { $seen++ } }
print "Content-Type: text/plain\n\n", "before: $seen\n";
