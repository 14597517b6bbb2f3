#!/usr/bin/perl
#: exec uses random numbers
our $secret; BEGIN { open my $f, '<:raw', '/dev/urandom' or die; read $f, $secret, 16 }
print "Content-Type: text/plain\n\n";
print length $secret, "\n";
