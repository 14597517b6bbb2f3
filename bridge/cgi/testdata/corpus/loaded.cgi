#!/usr/bin/perl
#: persistent differs a module is loaded before
print "Content-Type: text/plain\n\n";
print map { "$_\n" } sort keys %INC; print map { "$_\n" } sort grep { $_ ne "__ANON__" } keys %main::; print defined &CORE::GLOBAL::socket ? "replaced\n" : "plain\n", scalar(@INC), "\n";
