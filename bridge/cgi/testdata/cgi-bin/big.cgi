#!/usr/bin/perl
# Writes as many bytes as the query says: the numbers of 8-byte words.
my $left = $ENV{QUERY_STRING};
binmode STDOUT;
print "Content-Type: application/octet-stream\nContent-Length: $left\n\n";
my $word = 0;
while ($left > 0) {
    my $block = pack 'Q>*', $word .. $word + 8191;
    $word += 8192;
    $block = substr $block, 0, $left if length $block > $left;
    print $block;
    $left -= length $block;
}
