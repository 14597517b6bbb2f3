#!/usr/bin/perl
#: persistent differs evals are numbered on
print "Content-Type: text/plain\n\n";
print eval '1 +' // "error: $@"; print eval { die { code => 7 } } // "code $@->{code}\n";
my $line = eval "\n\n__LINE__"; print "$line\n"; eval { eval { die "inner\n" }; print "got $@"; die "outer\n" }; print "got $@";
my $n = eval "#line 7 \"made.up\"\ndie 'x'"; print $@;
print "undefined ok\n" unless defined eval { undef };
