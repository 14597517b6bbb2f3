#!/usr/bin/perl
die "cannot open the guest book\n";
