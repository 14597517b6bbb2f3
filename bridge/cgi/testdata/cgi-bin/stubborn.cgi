#!/usr/bin/perl
# Writes its pid and its child's to the file named by the query, ignores TERM.
# With a query that begins with "started:" it begins its response before.
$SIG{TERM} = 'IGNORE';
$| = 1;
my $file = $ENV{QUERY_STRING};
print "Content-Type: text/plain\n\nbegun\n" if $file =~ s/^started://;
defined(my $pid = fork) or die "fork: $!";
if ($pid) {
    open my $fh, '>', "$file.new" or die "$file.new: $!";
    print $fh "$$ $pid\n";
    close $fh or die "$file.new: $!";
    rename "$file.new", $file or die "$file: $!";
}
sleep 1 while 1;
