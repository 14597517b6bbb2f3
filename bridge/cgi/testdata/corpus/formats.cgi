#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
our ($name, $amount, $text) = ('Apples', 3.14159, 'a long text that is to be broken into several lines of the column');
format STDOUT_TOP =
Name       Amount
-----------------
.
format STDOUT =
@<<<<<<<<< @##.## ^<<<<<<<<<<<<~~
$name,     $amount, $text
.
write; $name = 'Pears'; $text = 'short'; write;
print "lines left $-\n";
