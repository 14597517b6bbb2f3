#!/usr/bin/perl
# An object in a package variable is destroyed at the end, and prints then.
package Guard;
sub new { my ($class, $name) = @_; return bless { name => $name }, $class }
sub DESTROY { print STDOUT "$_[0]{name} is destroyed\n" }
package main;
our $global = Guard->new("the one of $ENV{REQUEST_METHOD}");
print "Content-Type: text/plain\n\n";
print "in the middle\n";
