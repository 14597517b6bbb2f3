#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
open our $f, '>', '/dev/full'; print $f "order 17\n"; print "saved\n";
