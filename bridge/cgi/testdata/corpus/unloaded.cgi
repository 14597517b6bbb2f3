#!/usr/bin/perl
sub f { warnings::warnif('deprecated', 'old') }
print "Content-Type: text/plain\n\n";
print eval { f(); 1 } ? "called\n" : $@; print eval { strict->import; 1 } ? "called\n" : $@;
