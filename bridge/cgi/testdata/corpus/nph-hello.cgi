#!/usr/bin/perl
print "HTTP/1.1 202 Taken\r\nContent-Type: text/plain\r\nX-Raw: yes\r\n\r\nraw\n";
