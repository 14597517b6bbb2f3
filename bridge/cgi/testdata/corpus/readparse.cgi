#!/usr/bin/perl
#: GET ?b=2&a=1
use CGI qw(:cgi-lib); ReadParse(*in); print PrintHeader(), map { "$_=$in{$_}\n" } sort keys %in;
