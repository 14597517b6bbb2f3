#!/usr/bin/perl -w
print "Content-Type: text/plain\n\n";
my $undefined; my $text = "value $undefined";
print "\$^W is $^W\n";
sub used { my $x = shift; return $x + 1 } print used("3 apples"), "\n";
warn "a warning";
warn "without line\n";
local $SIG{__WARN__} = sub { print "caught: $_[0]" };
warn "another";
