#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Cwd;
print getcwd(), "\n";
chdir '/' or die; print getcwd(), "\n";
print -e 'tmp' ? "relative names follow\n" : "no\n";
