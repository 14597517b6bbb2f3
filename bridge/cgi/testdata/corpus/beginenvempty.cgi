#!/usr/bin/perl
#: GET ?a=1
BEGIN { %ENV = (); $ENV{PATH} = '/bin:/usr/bin' }
print "Content-Type: text/plain\n\n";
print map { "$_=[$ENV{$_}]\n" } sort keys %ENV; print sort grep { !/^(PWD|_|SHLVL|OLDPWD)=/ } `env`;
