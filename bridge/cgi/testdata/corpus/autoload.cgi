#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
our $AUTOLOAD;
sub AUTOLOAD { my $name = $AUTOLOAD; $name =~ s/.*:://; return if $name eq 'DESTROY'; return "auto $name(@_)\n" }
print undefined_thing(1, 2), main->method, Other->can('x') ? 1 : 0, "\n";
