#!/usr/bin/perl
#: GET
#: POST ? text/plain x
print "Content-Type: text/plain\n\n";
print join(' ', map { -p $_ ? 'pipe' : -t _ ? 'tty' : -c _ ? 'device' : -f _ ? 'file' : 'other' } *STDIN, *STDOUT, *STDERR), "\n";
print join(' ', map { fileno $_ } *STDIN, *STDOUT, *STDERR), "\n";
print join(',', map { join ':', PerlIO::get_layers($_) } *STDIN, *STDOUT, *STDERR), "\n";
print "at the end\n" if eof STDIN;
