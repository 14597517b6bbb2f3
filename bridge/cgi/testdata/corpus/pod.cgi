#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
=head1 NAME

Not code: print "wrong";

=cut

print "after pod\n";

=pod

more

=cut

print "end\n";
