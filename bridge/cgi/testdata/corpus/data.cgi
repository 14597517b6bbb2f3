#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print map {"[$_]"} <DATA>;
END { print "bye\n" }
__END__
one
two
