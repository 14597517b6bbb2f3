#!/usr/bin/perl
use lib 'lib';
BEGIN { $ENV{LOCAL_BACKEND} = 'Local::Second' }
print "Content-Type: text/plain\n\n";
require Local::Front; print Local::Front::backend(), "\n";
