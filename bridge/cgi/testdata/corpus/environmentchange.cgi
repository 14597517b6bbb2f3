#!/usr/bin/perl
#: GET ?x
print "Content-Type: text/plain\n\n";
{ local $ENV{LOCAL} = 'inside'; print `echo \$LOCAL` } print `echo [\$LOCAL]`;
$ENV{HTTP_HOST} = 'changed'; print `echo \$HTTP_HOST`; delete $ENV{QUERY_STRING}; print exists $ENV{QUERY_STRING} ? 'there' : 'gone', "\n"; %ENV = (PATH => '/bin:/usr/bin'); print `env | grep -v ^_ | sort`;
