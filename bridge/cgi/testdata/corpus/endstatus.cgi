#!/usr/bin/perl
#: GET ?0
#: GET ?7
#: GET ?256
#: GET ?die
#: GET ?end
#: GET ?dieinend
#: GET ?exitinend
print "Content-Type: text/plain\n\nanswer\n";
our $how = $ENV{QUERY_STRING};
END { print "last END $?\n" }
END { print "END $?\n"; $? = 9 if $how eq 'end'; if ($how eq "dieinend") { $! = 5; die "in END\n" } exit 6 if $how eq 'exitinend' }
END { print "first END $?\n" }
die "dead\n" if $how eq 'die';
exit $how if $how =~ /^\d/;
