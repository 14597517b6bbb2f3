#!/usr/bin/perl
#: persistent differs evals are numbered on
print "Content-Type: text/plain\n\n";
sub where { my @c = caller(0); my @up = caller(1); return "$c[0] $c[1] $c[2] $c[3] " . (@up ? "up $up[3]" : 'top') . "\n" }
print where(); sub via { where() } print via(); print eval { where() }; print eval 'where()';
print defined caller() ? "called\n" : "main program\n";
# line 100 "renamed.pl"
warn "here"; print __FILE__, ' ', __LINE__, "\n";
