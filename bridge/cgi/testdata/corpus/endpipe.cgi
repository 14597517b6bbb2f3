#!/usr/bin/perl
print "Content-Type: text/plain\n\nbegin\n";
open our $mail, '|-', 'sleep 0.2; cat; echo done' or die; print $mail "to the program\n"; print "end\n";
