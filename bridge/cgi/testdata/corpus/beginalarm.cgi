#!/usr/bin/perl
#: exec it sets an alarm
print "Content-Type: text/plain\n\n";
BEGIN { alarm 30 }
print alarm(0) > 0 ? "alarm set\n" : "no alarm\n";
