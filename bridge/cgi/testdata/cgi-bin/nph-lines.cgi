#!/usr/bin/perl
# A whole HTTP response: its head at once, then an answer to each line.
$| = 1;
print "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nX-Own: yes\r\n\r\n";
print "got $_" while <STDIN>;
