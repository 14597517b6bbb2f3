#!/usr/bin/perl
#: GET ?a=1
BEGIN { undef %ENV }
print "Content-Type: text/plain\n\n";
print map { "$_=[$ENV{$_}]\n" } sort keys %ENV; print sort grep { !/^(PWD|_|SHLVL|OLDPWD)=/ } `/usr/bin/env`;
