#!/usr/bin/perl
#: keep
#: exec for writing
our $visit;
BEGIN {
    my $file = "$ENV{SCRATCH}/visits";
    if (open my $in, '<', $file) { chomp($visit = <$in>) }
    $visit++;
    open my $out, '>', $file or die;
    print $out "$visit\n";
    close $out or die;
}
print "Content-Type: text/plain\n\n";
print "visit $visit\n";
