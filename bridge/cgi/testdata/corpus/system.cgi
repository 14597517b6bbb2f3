#!/usr/bin/perl
#: POST ? text/plain taken
print "Content-Type: text/plain\n\n";
$| = 1;
system 'echo from system; echo to stderr >&2';
system 'sh', '-c', 'exit 3'; print $? >> 8, "\n";
my $text = `cat`; print "cat got $text\n";
print STDOUT "still\n";
