#!/usr/bin/perl
#: exec number of its process|signal
our $got = 0; BEGIN { $SIG{USR1} = sub { $got++ }; kill USR1 => $$ }
print "Content-Type: text/plain\n\n";
print "got $got\n";
