#!/usr/bin/perl
# Dies of a signal in the middle of its response.
$| = 1;
print "Content-Type: text/plain\n\nhalf of the ";
kill 'KILL', $$;
