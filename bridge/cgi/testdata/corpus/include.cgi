#!/usr/bin/perl
#: persistent differs the runtime needs B
print "Content-Type: text/plain\n\n";
print join "\n", sort grep { !m{^(strict|warnings)[.]pm$} } keys %INC;
