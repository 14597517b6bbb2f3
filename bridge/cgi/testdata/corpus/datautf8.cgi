#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use utf8;
binmode STDOUT, ':encoding(UTF-8)';
binmode DATA, ':encoding(UTF-8)';
while (<DATA>) { chomp; print length, " $_\n" }
__DATA__
größe
日本語
