#!/usr/bin/perl
use strict;
use warnings;

# Prints what a script gets: the variables that the servers should agree in, and the body.
my $body = '';
read STDIN, $body, $ENV{CONTENT_LENGTH} if $ENV{CONTENT_LENGTH};
$ENV{AUTH_TYPE} = lc $ENV{AUTH_TYPE} if $ENV{AUTH_TYPE}; # its case does not matter
print "Content-Type: text/plain; charset=utf-8\nX-Script: env\n\n";
for my $name (sort grep {length $ENV{$_}} keys %ENV) {
    print "$name=$ENV{$name}\n"
        if $name =~ /^(REQUEST_METHOD|SCRIPT_NAME|SCRIPT_FILENAME|PATH_INFO|QUERY_STRING|REMOTE_USER|AUTH_TYPE|CONTENT_TYPE|CONTENT_LENGTH|SERVER_NAME|SERVER_PROTOCOL|GATEWAY_INTERFACE|HTTPS|REMOTE_ADDR|DOCUMENT_ROOT|REQUEST_URI|HTTP_HOST|HTTP_X_\w+|HTTP_AUTHORIZATION|SHOP_\w+)$/;
}
print "body: $body\n";
