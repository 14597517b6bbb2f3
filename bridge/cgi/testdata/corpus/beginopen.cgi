#!/usr/bin/perl
#: persistent exec keeps a file open
print "Content-Type: text/plain\n\n";
my ($file, $line);
BEGIN { open $file, '<', __FILE__ or die; $line = <$file> }
print $line, 'then ', scalar <$file>, 'at ', tell $file, "\n";
{ local $/; my $rest = <$file>; print length $rest, "\n" }
print "eof\n" if eof $file;
