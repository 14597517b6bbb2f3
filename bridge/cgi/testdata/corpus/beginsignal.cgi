#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
BEGIN { $SIG{USR1} = sub { print "caught $_[0]\n" }; $SIG{PIPE} = 'IGNORE'; $SIG{__WARN__} = sub { print "warned: $_[0]" } }
kill USR1 => $$;
warn "careful";
print "$SIG{PIPE}\n";
