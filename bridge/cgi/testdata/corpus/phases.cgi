#!/usr/bin/perl
#: persistent exec INIT block
print "Content-Type: text/plain\n\n";
BEGIN { push @main::phases, "begin ${^GLOBAL_PHASE}" }
UNITCHECK { push @main::phases, "unitcheck ${^GLOBAL_PHASE}" }
CHECK { push @main::phases, "check ${^GLOBAL_PHASE}" }
INIT { push @main::phases, "init ${^GLOBAL_PHASE}" }
push @main::phases, "main ${^GLOBAL_PHASE}";
END { print "$_\n" for @main::phases, "end ${^GLOBAL_PHASE}" }
