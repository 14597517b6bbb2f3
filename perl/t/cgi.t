use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::CGI::Persistent;
use PagiBridge::CGI::Watch;

# The variables of a request that have another value than in the last one.
{
    my @last = ('A=1', 'B=x=y', 'C', 'REMOTE_PORT=1234');
    my $others = sub {
        my ($indexes, %now) = @_;
        return [ PagiBridge::CGI::Persistent::other_values($indexes, \@last, [ map { $now{$_} // $last[$_] } 0 .. $#last ]) ];
    };
    is_deeply $others->([ 1, 3 ], 1 => 'B=z=', 3 => 'REMOTE_PORT=99'), [ B => 'z=', REMOTE_PORT => '99' ], 'other values';
    is_deeply $others->([0], 0 => 'A='), [ A => '' ], 'an empty one';
    is_deeply $others->([ 0, 3 ], 0 => 'A=2', 3 => 'REMOTE=99'), [], 'another variable';
    is_deeply $others->([2], 2 => 'C=1'), [], 'one that was not there';
    is_deeply $others->([0], 0 => 'A'),   [], 'one that is not there any more';
}

# What the tied hash of a watch notes.
{
    my %real = (PATH => '/bin', HOME => '/root');
    my $notes = tie my %env, 'PagiBridge::CGI::Watch::Environment', \%real;
    is $env{PATH}, '/bin', 'a variable is read';
    ok !exists $env{QUERY_STRING}, 'one is looked for';
    $env{OWN} = 1;
    is $env{OWN}, 1, 'one is set and read';
    is_deeply [ sort keys %{ $notes->{read} } ], [qw(PATH QUERY_STRING)], 'the own one is not among those read';
    ok !$notes->{all}, 'not all were listed';
    is delete $env{HOME}, '/root', 'one is deleted';
    is_deeply [ sort keys %env ], [qw(OWN PATH)], 'all are listed';
    ok $notes->{all}, 'which is noted';
    is_deeply \%real, { PATH => '/bin', OWN => 1 }, 'the real ones have changed';

    my $watch = bless { notes => $notes }, 'PagiBridge::CGI::Watch';
    is_deeply [ map { $watch->overrides($_) ? 1 : 0 } qw(OWN HOME PATH) ], [ 1, 1, 0 ], 'what is deleted is overridden, too';
    is_deeply [ sort { $a cmp $b } $watch->changes ], [ 0, 1, 1, 'HOME', 'OWN' ], 'which the zygote is told';
    %env = (ONLY => 1);
    ok $watch->overrides('ANYTHING'), 'after all were cleared every one is';
    is +($watch->changes)[0], 1, 'which the zygote is told, too';
}

# What a watch finds.
for my $case (
    [ 'nothing',              sub { },                        '' ],
    [ 'a variable',           sub { my $path = $ENV{PATH} },  '', 'PATH' ],
    [ 'all variables',        sub { my @all = %ENV },         'it lists all of %ENV' ],
    [ 'a reference to them',  sub { our $kept = \%ENV },      'it keeps a reference to %ENV, or has replaced it' ],
    [ 'another hash',         sub { *main::ENV = {} },        'it keeps a reference to %ENV, or has replaced it' ],
    [ 'a random number',      sub { my $random = rand },      'it uses random numbers' ],
    [ 'a seed',               sub { srand 7 },                'it uses random numbers' ],
    [ 'the time of the start', sub { my $time = $^T },        'it looks at the clock ($^T)' ],
    [ 'another time of it',   sub { $^T = 5 },                'it looks at the clock ($^T)' ],
    )
{
    my ($name, $code, $why, @names) = @$case;
    my ($start, $real) = ($^T, \%ENV);
    my $watch = PagiBridge::CGI::Watch->begin;
    $code->();
    is $watch->end, $why, $name;
    is \%ENV, $real, 'the environment is back';
    is_deeply [ $watch->names ], \@names, 'and it is known what was read' if $why eq '';
    $^T = 6;
    is $^T, 6, 'so is $^T';
    $^T = $start;
    our $kept;
    undef $kept;
}

done_testing;
