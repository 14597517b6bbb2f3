#!/usr/bin/perl
#: GET ?q
print "Content-Type: text/plain\n\n";
BEGIN {
    $ENV{PATH} = "/bin:/usr/bin:$ENV{DOCUMENT_ROOT}";
    delete $ENV{LANG};
    $ENV{HTTP_HOST} = 'overridden';
    $ENV{ADDED} = 'by BEGIN';
}
print "$_=$ENV{$_}\n" for sort keys %ENV;
print sort `env`;
