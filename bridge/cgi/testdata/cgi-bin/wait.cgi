#!/usr/bin/perl
# Says in a directory (the query) that it runs and waits for the file "go" there.
my $dir = $ENV{QUERY_STRING};
open my $fh, '>', "$dir/$$" or die "$dir: $!";
close $fh;
select undef, undef, undef, 0.01 until -e "$dir/go";
print "Content-Type: text/plain\n\nok\n";
