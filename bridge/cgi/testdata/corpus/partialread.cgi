#!/usr/bin/perl
#: POST ? text/plain 123456
print "Content-Type: text/plain\n\n";
read STDIN, my $some, 3; print "[$some]\n"; sysread STDIN, my $none, 10; print STDERR "buffered\n" if !length $none;
