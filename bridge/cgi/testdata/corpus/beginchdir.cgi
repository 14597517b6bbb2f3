#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
BEGIN { chdir 'lib' or die; umask 077 }
use Cwd;
print getcwd(), sprintf " %o\n", umask;
