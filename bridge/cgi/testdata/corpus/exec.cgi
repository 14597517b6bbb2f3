#!/usr/bin/perl
#: POST ?q text/plain over
print "Content-Type: text/plain\n\n";
$| = 1; print "then: ";
exec 'sh', '-c', 'echo $0 $QUERY_STRING; cat' or die;
