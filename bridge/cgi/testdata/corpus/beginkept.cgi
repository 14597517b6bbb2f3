#!/usr/bin/perl
#: persistent exec keeps a file open
our $f; BEGIN { open $f, '<', __FILE__ or die; scalar <$f> }
print "Content-Type: text/plain\n\n";
print scalar <$f>; sysseek $f, 2, 0; sysread $f, my $x, 8; print "$x ", tell $f, "\n";
