#!/usr/bin/perl
#: persistent differs package variables stay
print "Content-Type: text/plain\n\n";
package Upper; sub TIEHANDLE { bless [], shift } sub PRINT { shift; push @main::lines, uc join '', @_; 1 } sub PRINTF { shift; my $f = shift; push @main::lines, sprintf $f, @_; 1 }
package Count; sub TIESCALAR { bless \(my $n = 0), shift } sub FETCH { ${ $_[0] }++ }
package main;
tie *STDOUT, 'Upper'; print "loud\n"; printf "%03d\n", 7; untie *STDOUT;
print @main::lines;
tie my $count, 'Count'; print "$count $count $count\n";
