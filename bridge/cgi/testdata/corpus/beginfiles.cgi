#!/usr/bin/perl
#: keep
#: exec changes files|renames|removes|for writing|makes
BEGIN { my $f = "$ENV{SCRATCH}/f"; symlink 'nowhere', "$f.link"; link "$f.link", "$f.other"; rename "$f.other", "$f." . (() = glob "$f.*") }
print "Content-Type: text/plain\n\n";
print map { s{.*/}{}r . "\n" } glob "$ENV{SCRATCH}/*";
