#!/usr/bin/perl
# A page of a report ends in the middle, with a format of its own.
print "Content-Type: text/plain\n\n";
print join('|', $~, $^, $=, $-, $%, $:, length $^A), "\n";
our $n;
$n = $_, write for 1 .. 3;
$~ = 'OTHER';
write;
($=, $:) = (7, 'x');
formline '@>>', 5;
print join('|', $~, $^, $=, $-, $%, $:, length $^A), "\n";
format STDOUT_TOP =
Report, page @<<
$%
.
format STDOUT =
line @>>
$n
.
format OTHER =
the last line
.
