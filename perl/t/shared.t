use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use File::Temp ();
use IO::Socket::UNIX;
use PagiBridge;
use PagiBridge::Cache  ();
use PagiBridge::Shared ();
use Time::HiRes qw(time);

delete $ENV{PAGI_BRIDGE_SHARED};

# refused is what an exception says of a call; its place must be here, and is cut off.
sub refused {
    my ($code) = @_;
    return 'nothing' if eval { $code->(); 1 };
    my $error = $@;
    like $error, qr/ at \Q${\__FILE__}\E line [0-9]+\.\n\z/, 'the place of the call';
    return $error =~ s/ at \S+ line .*\n//r;
}

# Without a gateway everything is in this process.
{
    my $cache = PagiBridge::cache(prefix => 'a:', ttl => 100);
    is $cache->get('k'), undef, 'there is no value';
    ok $cache->set('k', "v\xff"), 'set';
    is $cache->get('k'), "v\xff", 'get';
    is(PagiBridge::cache(prefix => 'b:')->get('k'), undef, 'another prefix');
    is $cache->add('k', 'x'), 0, 'add leaves a value';
    is $cache->replace('none', 'x'), 0, 'replace makes none';
    ok $cache->add('l', ''), 'add';
    is_deeply $cache->get_multi('k', 'none', 'l'), { k => "v\xff", l => '' }, 'get_multi';
    is_deeply $cache->get_multi, {}, 'get_multi of nothing';
    is $cache->delete('k', 'l', 'none'), 2, 'delete';
    is $cache->incr('n'), 1, 'incr';
    is $cache->incr('n', 41), 42, 'incr by more';
    is $cache->decr('n', 50), -8, 'decr';
    $cache->set('short', 1, 0.01);
    select undef, undef, undef, 0.02;
    is $cache->get('short'), undef, 'a value ends';
    $cache->set('w', 'word');
    like refused(sub { $cache->incr('w') }), qr/not a whole number/, 'incr of a word';
    $cache->clear;
    is $cache->get('w'), undef, 'clear';

    like refused(sub { PagiBridge::cache()->get('') }),         qr/get wants a key/,     'an empty key';
    like refused(sub { $cache->get("\x{263a}") }),              qr/get wants a key/,     'a key of wide characters';
    like refused(sub { $cache->set('k' x 249, 1) }),            qr/set wants a key/,     'too long a key';
    like refused(sub { $cache->set('k', undef) }),              qr/set wants a value/,   'undef';
    like refused(sub { $cache->set('k', {}) }),                 qr/set wants a value/,   'a reference';
    like refused(sub { $cache->add('k', "\x{263a}") }),         qr/add wants a value/,   'wide characters';
    like refused(sub { $cache->set('k', 'v' x 1_048_577) }),    qr/set wants a value/,   'too long a value';
    like refused(sub { $cache->set('k', 1, 'soon') }),          qr/set wants a time/,    'a time that is none';
    like refused(sub { $cache->incr('k', 1.5) }),               qr/incr wants a whole/,  'half a step';
    like refused(sub { PagiBridge::lock('') }),                 qr/lock wants a name/,   'a lock without a name';
    like refused(sub { PagiBridge::lock('x', wat => 1) }),      qr/lock wants the opt/,  'a wrong option';
    like refused(sub { PagiBridge::publish('news', undef) }),   qr/publish wants a ch/,  'nothing to publish';
    like refused(sub { PagiBridge::publish('n', "\x{263a}", binary => 1) }), qr/publish wants a binary/, 'wide characters in bytes';
}
{
    my $lock = PagiBridge::lock('x');
    ok $lock, 'a lock';
    is(PagiBridge::lock('x', wait => 5), undef, 'which is held');
    ok $lock->release, 'is given back';
    ok !$lock->release, 'once';
    { ok my $scoped = PagiBridge::lock('x'), 'a lock of a block' }
    ok my $brief = PagiBridge::lock('x', hold => 0.01), 'is given back at its end';
    select undef, undef, undef, 0.02;
    ok my $other = PagiBridge::lock('x'), 'a lock whose time is over is free';
    ok !$brief->release, 'and the first holder is told';
    is(PagiBridge::publish('news', 'hello'), undef, 'nothing is published');
}

my $dir     = File::Temp->newdir;
my $sockets = 0;

# with plays a gateway in another process, which answers the calls of each connection by a list of codes, and runs $code with its
# address.
sub with {
    my ($code, @connections) = @_;
    my $path = "$dir/s" . ++$sockets;
    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die "listen: $!";
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        for my $answers (@connections) {
            my $c = $listener->accept;
            for my $answer (@$answers) {
                read($c, my $head, 9) == 9 or last;
                my ($length, $id, $call) = unpack 'N N C', $head;
                read $c, my $payload, $length - 5;
                my $out = $answer->($id, $call, $payload);
                last if !defined $out;
                syswrite $c, $out;
            }
        }
        require POSIX;
        POSIX::_exit(0);
    }
    close $listener;
    local $PagiBridge::runtime = 1;
    local $PagiBridge::shared  = "$path abc0";
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    PagiBridge::Shared::loud();
    $code->();
    kill KILL => $pid;
    waitpid $pid, 0;
    return join '', @warnings;
}

sub answer { my ($result, $payload) = @_; return sub { return pack 'N N C a*', 5 + length $payload, $_[0], $result, $payload } }
my $hello = answer(0, '');
my $hang = sub { sleep 100; return };

{
    local $PagiBridge::runtime = 1;
    my $warning = '';
    local $SIG{__WARN__} = sub { $warning .= $_[0] };
    is(PagiBridge::cache()->get('k'), undef, 'under a gateway that has not come yet there is no value');
    is(PagiBridge::lock('x'), undef, 'and no lock');
    like $warning, qr/no gateway has connected/, 'a warning';
    is(() = $warning =~ /PagiBridge:/g, 1, 'only one');
}

is with(sub {
    is(PagiBridge::cache()->get('k'), 'v', 'a value');
    is_deeply(PagiBridge::cache()->get_multi('a', 'b', 'c'), { a => '', c => "x\0" }, 'values');
    is(PagiBridge::cache()->incr('n'), -3, 'a counter');
}, [$hello, answer(0, pack 'C N/a*', 1, 'v'), answer(0, pack 'C N/a* C C N/a*', 1, '', 0, 1, "x\0"), answer(0, pack 'q>', -3)]), '', 'no warning';

like with(sub { is(PagiBridge::cache()->get('k'), undef, 'nothing') }, [answer(2, 'there are too many')]), qr/too many/, 'a gateway that refuses';
like with(sub { is(PagiBridge::cache()->set('k', 1), 0, 'not stored') }, [$hello, sub { return }]), qr/gone/, 'a gateway that goes';
like with(sub { is(PagiBridge::cache()->get('k'), undef, 'nothing') }, [$hello, sub { return "\xff" x 20 }]), qr/nonsense/, 'a gateway that talks nonsense';
like with(sub {
    my $began = time;
    is(PagiBridge::cache()->get('k'), undef, 'nothing');
    my $took = time - $began;
    ok $took > 0.9 && $took < 30, "after a second ($took)";
}, [$hello, $hang]), qr/in time/, 'a gateway that does not answer';

# A lock that comes when it was given up is given back; the calls after that have their own answers.
is with(sub {
    is(PagiBridge::lock('x'), undef, 'no lock');
    is(PagiBridge::cache()->get('k'), 'after', 'the next answer');
    is(PagiBridge::cache()->get('k'), '7', 'the lock was given back');
}, [$hello, sub { $main::late = pack 'N N C a8', 13, $_[0], 0, pack 'Q>', 7; return '' },
    sub { return $main::late . answer(0, pack 'C N/a*', 1, 'after')->(@_) },
    sub { $main::given = unpack 'Q>', $_[2]; return $_[1] == 8 ? answer(0, '')->(@_) : undef },
    sub { return answer(0, pack 'C N/a*', 1, $main::given)->(@_) }]) =~ /in time/, 1, 'a warning';

# A call in the handler of a signal, while another one waits.
is with(sub {
    my $inner;
    local $SIG{ALRM} = sub { $inner = PagiBridge::cache()->get('inner') };
    Time::HiRes::ualarm(100_000);
    is(PagiBridge::cache()->get('outer'), 'o', 'the outer call');
    is $inner, 'i', 'the inner call';
}, [$hello, sub { $main::outer = $_[0]; return '' }, sub { return answer(0, pack 'C N/a*', 1, 'o')->($main::outer) . answer(0, pack 'C N/a*', 1, 'i')->(@_) }]), '', 'no warning';

# An exception in such a handler goes to the application.
with(sub {
    local $SIG{ALRM} = sub { die "time is up\n" };
    Time::HiRes::ualarm(100_000);
    is eval { PagiBridge::cache()->get('k'); 1 }, undef, 'the call is left';
    is $@, "time is up\n", 'by the exception';
    is(PagiBridge::cache()->get('k'), 'v', 'and the next one works');
}, [$hello, sub { return '' }, answer(0, pack 'C N/a*', 1, 'v')]);

# A forked process has a connection of its own. The lock is given back by the process that has it, to a gateway that has gone here.
like with(sub {
    ok my $lock = PagiBridge::lock('x'), 'a lock';
    my $pid = fork;
    if (!$pid) {
        undef $lock;
        my $ok = PagiBridge::cache()->get('k') eq 'child';
        require POSIX;
        POSIX::_exit($ok ? 0 : 1);
    }
    waitpid $pid, 0;
    is $?, 0, 'the child has a connection';
}, [$hello, answer(0, pack 'Q>', 3)], [$hello, answer(0, pack 'C N/a*', 1, 'child')]), qr/gone/, 'and the parent gives the lock back';

done_testing;
