#!/usr/bin/perl
#: exec runs a program
BEGIN { exec '/bin/echo', "Content-Type: text/plain\n\nechoed" }
