#!/usr/bin/perl
use Cwd;
print "Content-Type: text/plain\n\n", getcwd(), "\n$0\n@ARGV\n";
