#!/usr/bin/perl
#: persistent differs numbers go on
print "Content-Type: text/plain\n\n";
eval 'die'; print $@; eval 'warn "here"'; print eval '__FILE__', "\n"; print defined((stat _)[2]) ? "tested\n" : "not tested\n";
