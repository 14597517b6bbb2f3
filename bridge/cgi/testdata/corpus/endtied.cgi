#!/usr/bin/perl
package Out; sub TIEHANDLE { bless [], shift } sub PRINT { my $self = shift; push @$self, @_; 1 } sub DESTROY { syswrite STDERR, "tied: @{$_[0]}" }
package main;
print "Content-Type: text/plain\n\nbegin\n"; $| = 1; print ''; tie *STDOUT, 'Out'; print "kept back\n";
