#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print "$0\n"; open my $self, '<', $0 or die; my $first = <$self>; print $first; $0 = 'renamed'; print "$0\n"; open my $again, '<', __FILE__ or die; print scalar(() = <$again>), " lines\n";
