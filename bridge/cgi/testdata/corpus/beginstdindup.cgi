#!/usr/bin/perl
#: POST ? text/plain hello
#: exec it reads STDIN
our $body; BEGIN { open my $in, '<&', \*STDIN or die; sysread $in, $body, 100; close $in }
print "Content-Type: text/plain\n\n";
print "$body\n";
