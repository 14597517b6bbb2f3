#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
sub apply(&@) { my $code = shift; map { $code->($_) } @_ } sub pair($$) { "$_[0]=$_[1]" } sub opt(;$) { @_ ? 'given' : 'none' }
print join(',', apply { $_[0] * 2 } 1, 2, 3), ' ', pair(1, 2), ' ', opt, ' ', prototype('apply'), "\n";
sub constant() { 42 } print constant + 1, "\n";
