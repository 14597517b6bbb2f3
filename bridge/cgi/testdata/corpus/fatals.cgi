#!/usr/bin/perl
use CGI::Carp qw(fatalsToBrowser warningsToBrowser);
use CGI qw(:standard);
warn 'before the header'; print header('text/html'); warningsToBrowser(1); warn 'after'; die "shown <to> the browser";
