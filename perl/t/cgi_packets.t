use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::CGI::Zygote     ();
use PagiBridge::CGI::Persistent ();

# The decoders of what the gateway sends to a zygote and to a worker take what bridge/cgi/perlfork/PROTOCOL.md describes,
# and refuse everything else. They never die and never warn.
#
#     FUZZ_SEED=7 FUZZ_COUNT=100000 prove -v perl/t/cgi_packets.t

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };

my $mark = 'ABCDEFGHIJKLMNOPQRSTUVWX27';

for my $case (
    [ 'one pair',                             "file\0/srv/a.cgi\0",                                     [ 'file', '/srv/a.cgi' ] ],
    [ 'several, a key twice, an empty value', "cpu\0001\0cpu\0006\0set\0PERL5OPT\0set\0\0",             [ qw(cpu 1 cpu 6 set PERL5OPT set), '' ] ],
    [ 'the pair that says nothing',           "\0\0",                                                   [ '', '' ] ],
    [ 'nothing at all',                       '' ],
    [ 'a value without an end',               "file\0/srv/a.cgi" ],
    [ 'a key without a value',                "file\0" ],
    [ 'an odd number',                        "file\0/srv/a.cgi\0module\0" ],
    [ 'an unknown key',                       "fil\0/srv/a.cgi\0" ],
    [ 'a number that is none',                "access\0004x\0" ],
    [ 'a negative number',                    "descriptor\0-1\0" ],
    [ 'a number with a line end',             "descriptor\0003\n\0" ],
    )
{
    my ($name, $text, $want) = @$case;
    is_deeply scalar PagiBridge::CGI::Zygote::pairs($text), $want, "pairs: $name";
}

for my $case (
    [ 'no variables',                 "seed\0$mark",              [ 0, $mark ] ],
    [ 'descriptors and variables',    "seed\3${mark}A=1\0B\0",    [ 3, $mark, 'A=1', 'B' ] ],
    [ 'a seed of any bytes',          "\0\xff\0\n\1$mark",        [ 1, $mark ] ],
    [ 'nothing at all',               '' ],
    [ 'too short for a mark',         "seed\0" . substr $mark, 1 ],
    [ 'flags that are none',          "seed\4$mark" ],
    [ 'a mark of other characters',   "seed\0" . lc $mark ],
    [ 'a variable without an end',    "seed\0${mark}A=1" ],
    )
{
    my ($name, $text, $want) = @$case;
    is_deeply [ PagiBridge::CGI::Persistent::parse($text) ], $want || [], "request: $name";
}

my $count = $ENV{FUZZ_COUNT} || 3000;
srand($ENV{FUZZ_SEED} || 20);
my @pieces = ("\0", "\0\0", $mark, 'seed', "\3", map({"$_\0"} qw(file access cpu descriptor A=1 7)), "\xff", "\n", 'x');
my $wrong = 0;
for (1 .. $count) {
    my $text  = join '', map { $pieces[ rand @pieces ] } 1 .. rand 12;
    my $pairs = eval { PagiBridge::CGI::Zygote::pairs($text) };
    $wrong++ if $@ || $pairs && (@$pairs % 2 || join('', map {"$_\0"} @$pairs) ne $text);
    my ($flags, $own, @variables) = eval { PagiBridge::CGI::Persistent::parse($text) };
    $wrong++ if $@ || defined $flags && ($flags > 3 || $own ne $mark || length $text < 31);
    diag unpack 'H*', $text if $wrong;
    last if $wrong;
}
is $wrong, 0, "$count packets at random";
is_deeply \@warnings, [], 'no warning';

done_testing;
