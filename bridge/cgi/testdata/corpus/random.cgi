#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print rand() < 1 ? "below one\n" : ''; srand 42; my $first = rand; srand 42; print rand == $first ? "repeatable\n" : "no\n";
