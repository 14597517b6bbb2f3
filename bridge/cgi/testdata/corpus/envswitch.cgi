#!/usr/bin/env perl -w
#: exec program called "perl -w"
print "Content-Type: text/plain\n\nnever\n";
