#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print time - $^T < 3 ? "now\n" : "then\n"; print -M __FILE__ > 0 ? "old\n" : "new\n"; $^T = 0; print -M __FILE__ < 0 ? "set\n" : "not set\n";
