#!/usr/bin/perl
#: exec shares memory
BEGIN { our $id = shmget 0, 4096, 0600; shmctl $id, 0, 0 if defined $id }
print "Content-Type: text/plain\n\n";
print defined $id ? "there\n" : "none\n";
