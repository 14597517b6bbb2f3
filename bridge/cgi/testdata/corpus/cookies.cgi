#!/usr/bin/perl
use CGI; use CGI::Cookie;
my %got = CGI::Cookie->fetch; my $q = CGI->new; print $q->header(-type => 'text/plain', -cookie => [$q->cookie(-name => 'a', -value => 'b c', -path => '/x'), CGI::Cookie->new(-name => 'n', -value => [1, 2], -secure => 1)]), join(' ', map { "$_=" . $got{$_}->value } sort keys %got), "\n";
