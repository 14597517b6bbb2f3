#!/usr/bin/perl
#: POST ? text/plain body
print "Content-Type: text/plain\n\n";
$| = 1;
open my $saved, '>&', \*STDOUT or die;
open STDOUT, '>', "$ENV{SCRATCH}/captured" or die;
print "captured\n"; system 'echo by a program';
open STDOUT, '>&', $saved or die;
open my $in, '<', "$ENV{SCRATCH}/captured"; print "file: $_" while <$in>;
open my $alias, '>&=', 1; print {$alias} fileno($alias), "\n";
open my $input, '<&', \*STDIN; print <$input>;
