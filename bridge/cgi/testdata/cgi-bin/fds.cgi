#!/usr/bin/perl
# The descriptors this process was started with (its own listing aside).
print "Content-Type: text/plain\n\n";
print join(' ', sort { $a <=> $b } grep { -e "/proc/$$/fd/$_" } map { m{(\d+)$} } glob "/proc/$$/fd/*"), "\n";
