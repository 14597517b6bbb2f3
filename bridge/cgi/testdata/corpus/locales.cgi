#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use POSIX qw(setlocale LC_ALL LC_NUMERIC strftime);
print setlocale(LC_ALL) // 'none', ' ', sprintf('%.2f', 3.14159), ' ', strftime('%A %d %B', 0, 0, 0, 1, 0, 100), "\n";
setlocale(LC_NUMERIC, 'de_DE.UTF-8'); { use locale; print 1.5, "\n" }
