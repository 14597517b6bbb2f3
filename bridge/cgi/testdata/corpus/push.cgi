#!/usr/bin/perl
use CGI ':push'; $| = 1; print multipart_init(-boundary => 'here'); for my $i (1 .. 2) { print multipart_start(-type => 'text/plain'), "part $i\n", $i < 2 ? multipart_end() : multipart_final() }
