#!/usr/bin/perl
# Ends its response, then waits for the file named by the query and removes it.
print "Content-Type: text/plain\n\ndone\n";
close STDOUT;
select undef, undef, undef, 0.01 until -e $ENV{QUERY_STRING};
unlink $ENV{QUERY_STRING};
