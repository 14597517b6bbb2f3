#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
for my $name (qw(USR1 HUP TERM CHLD)) {
    local $SIG{$name} = sub { print "got $_[0]\n" };
    kill $name => $$;
}
