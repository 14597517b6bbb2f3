#!/usr/bin/perl
# Writes its pid to the file named by the query; on TERM it writes "tidied" there.
my $file = $ENV{QUERY_STRING};
sub note { open my $fh, '>', "$file.new" or die; print $fh @_; close $fh; rename "$file.new", $file or die }
$SIG{TERM} = sub { note("tidied"); exit 0 };
note($$);
sleep 1 while 1;
