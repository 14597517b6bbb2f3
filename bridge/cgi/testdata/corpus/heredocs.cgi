#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
my $name = 'reader';
print <<"ONE", <<'TWO', <<~THREE;
Dear $name,
ONE
not $name
TWO
    indented @{[ 1 + 1 ]}
      more
    THREE
print lc(<<X) . "end\n";
SHOUT
X
