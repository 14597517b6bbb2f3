#!/usr/bin/perl
#: persistent exec DATA of another package
package Own;
print "Content-Type: text/plain\n\n", <DATA>;
__DATA__
one line
