#!/usr/bin/perl
#: GET ?a=1
our ($path, $query, $none); BEGIN { ($path, $query, $none) = \(@ENV{qw(PATH QUERY_STRING NONE)}); $path = \$ENV{PATH} }
print "Content-Type: text/plain\n\n";
print $$path eq $ENV{PATH} ? "the same\n" : "another\n"; print $$query // 'none', "\n"; $$path = '/nowhere'; print "$ENV{PATH}\n", `/usr/bin/env` =~ /^PATH=(.*)/m ? $1 : 'none', "\n"; $$none = 1; print $ENV{NONE} // 'none', "\n";
