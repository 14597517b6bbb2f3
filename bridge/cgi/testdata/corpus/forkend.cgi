#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
$| = 1;
our $main = $$;
END { print $$ == $main ? "parent ends\n" : "child ends\n" }
if (my $pid = fork) { waitpid $pid, 0 } else { print "child works\n"; exit 0 }
