#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
print join "\n", sort grep { !m{^(strict|warnings)[.]pm$} } keys %INC;
