#!/usr/bin/perl
#: exec open twice
our ($f, $g); BEGIN { open $f, '<', __FILE__ or die; open $g, '<&', $f or die }
print "Content-Type: text/plain\n\n";
sysread $f, my $x, 10; sysread $g, my $y, 10; print "$x|$y\n";
