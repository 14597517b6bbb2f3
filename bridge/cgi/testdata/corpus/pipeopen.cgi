#!/usr/bin/perl
#: POST ? text/plain the-body
print "Content-Type: text/plain\n\n";
open my $list, '-|', 'printf', '%s-', 'a', 'b' or die; print <$list>; close $list;
print "status $?\n";
my $pid = open my $child, '-|'; defined $pid or die;
if (!$pid) { print "from the child: ", scalar <STDIN>; exit 2 }
print "heard ", <$child>; close $child; print "status ", $? >> 8, "\n";
$| = 1;
open my $to, '|-', 'tr a-z A-Z' or die; print {$to} "shout\n"; close $to;
