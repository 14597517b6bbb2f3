use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::CGI::Ending;
use PagiBridge::CGI::Watch;

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
    ok $watch->overrides, 'something is';
    %env = (ONLY => 1);
    ok $watch->overrides('ANYTHING'), 'after all were cleared every one is';
}

# Which classes have a destructor.
require B;
ok !PagiBridge::CGI::Ending::is_idle(sub { print 'gone' }), 'a destructor that prints';
ok !PagiBridge::CGI::Ending::is_idle(\&B::svref_2object), 'one in C';
ok PagiBridge::CGI::Ending::is_idle(sub { }),        'one that is empty';
ok PagiBridge::CGI::Ending::is_idle(sub { return }), 'one that returns';

ok eval 'package Local::Quiet; sub new { } sub DESTROY { } 1', 'a class';
is_deeply [ PagiBridge::CGI::Ending::destructors('Local::Quiet::') ], ['Local::Quiet::DESTROY'], 'its destructor is found';
ok PagiBridge::CGI::Ending::is_idle(\&Local::Quiet::DESTROY), 'and does nothing';
ok eval 'package Local::Quiet::Deep; sub AUTOLOAD { print our $AUTOLOAD } 1', 'a class below it that answers to everything';
is_deeply [ grep {/Local::Quiet/} PagiBridge::CGI::Ending::packages('main::', {}) ], [ 'Local::Quiet::', 'Local::Quiet::Deep::' ], 'both are found';
ok PagiBridge::CGI::Ending::has_destructor(), 'and that one counts';

done_testing;
