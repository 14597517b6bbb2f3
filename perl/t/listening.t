use strict;
use warnings;

use Test::More;

use File::Temp qw(tempdir);
use FindBin;
use IO::Socket::UNIX;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use lib "$FindBin::Bin/../lib";

use PagiBridge::Listen;
use PagiBridge::Listening;
use PagiBridge::Mux;
use PagiBridge::PSGI;
use PagiBridge::Wire qw(:frames frame pack_pairs parse_frames unpack_pairs);

# This process is the keeper and the gateways.

my $dir = tempdir(CLEANUP => 1);
my ($keeper, $path, $count);

sub start {
    my ($app) = @_;
    $path = "$dir/worker-" . ++$count;
    socketpair $keeper, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        close $keeper;
        $SIG{PIPE} = sub { };
        my $worker = PagiBridge::Listening->new($theirs);
        my $handler = PagiBridge::PSGI->new(app => $app, worker => $worker);
        $worker->listen($path, 'secret', $>);
        $worker->ready;
        $worker->run($handler);
        exit 0;
    }
    close $theirs;
    is type_of(frames_from($keeper)), READY, 'the keeper learns that it is ready';
    return $pid;
}

my %in;

sub frames_from {
    my ($socket) = @_;
    my @frames;
    while (!@frames) {
        my $n = sysread $socket, $in{ fileno $socket }, 65536, length($in{ fileno $socket } || '');
        return if !$n;
        @frames = parse_frames(\$in{ fileno $socket });
    }
    return @frames;
}

sub type_of { return unpack 'x8 C', $_[0] }

sub dial {
    my ($token, $features) = @_;
    my $gateway = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path) or die "$path: $!";
    delete $in{ fileno $gateway };
    syswrite $gateway, frame(HELLO, 0, 0, pack 'n n N N/a* a*', VERSION, VERSION, $$, $token,
        pack_pairs(features => defined $features ? $features : 'requests paths'));
    return $gateway;
}

sub greeted {
    my ($gateway) = @_;
    my @frames;
    push @frames, frames_from($gateway) while @frames < 2;
    return join ' ', map { type_of($_) } @frames;
}

sub ask {
    my ($gateway, $stream, $path) = @_;
    syswrite $gateway, frame(NAMES, 0, 0, pack 'n (N/a*)*', 0, qw(REQUEST_METHOD PATH_INFO))
        . frame(REQUEST, 0, $stream, pack('n', 0) . join "\0", 'GET', $path, '');
    return;
}

sub body_of { my ($frame) = @_; return (unpack 'x10 n N/(N/a*N/a*) a*', $frame)[-1] }

my $welcome = WELCOME . ' ' . READY;

{
    my $pid = start(sub { [200, [], ["$$ $_[0]{PATH_INFO}"]] });
    is((stat $path)[2] & 07777, 0600, 'only its user can dial');
    my $first = dial('secret');
    is greeted($first), $welcome, 'a gateway is welcome';
    ask($first, 1, '/a');
    is body_of(frames_from($first)), "$pid /a", 'and served';

    my $second = dial('secret');
    ask($first, 2, '/b');
    is body_of(frames_from($first)), "$pid /b", 'while another one waits';
    close $first;
    is greeted($second), $welcome, 'which is welcome once the first has gone';
    syswrite $second, frame(REQUEST, 0, 1, pack('n', 0) . join "\0", 'GET', '/', '');
    is type_of((frames_from($second))[0] || "\0" x 10), 0, 'names of another gateway are not known';
    waitpid $pid, 0;
    isnt $?, 0, 'which breaks the protocol';
}

{
    my $pid = start(sub { [200, [], ["$$ $_[0]{PATH_INFO}"]] });
    my $gateway = dial('guess');
    my ($refused) = frames_from($gateway);
    is type_of($refused), REFUSED, 'a gateway with another token is refused';
    like substr($refused, HEADER_SIZE), qr/token/, 'and told why';
    is frames_from($gateway), undef, 'its connection ends';
    $gateway = dial('secret', 'scopes');
    like +(frames_from($gateway))[0], qr/needs "requests"/, 'as is one that wants something else';
    $gateway = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path);
    delete $in{ fileno $gateway };
    syswrite $gateway, "GET / HTTP/1.1\r\n\r\n";
    is type_of(frames_from($gateway)), REFUSED, 'and one that speaks something else';
    $gateway = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path);
    close $gateway;
    $gateway = dial('secret');
    is greeted($gateway), $welcome, 'the next one is welcome';
    syswrite $keeper, frame(DRAIN, 0, 0, '');
    ask($gateway, 1, '/c');
    is body_of(frames_from($gateway)), "$pid /c", 'it is served to its end, also when the keeper says DRAIN';
    close $gateway;
    waitpid $pid, 0;
    is $?, 0, 'then the worker goes';
}

{
    # A gateway that goes in the middle of an answer: the application is told, and the worker goes on.
    my $pid = start(sub {
        return [200, [], ["$$"]] if $_[0]{PATH_INFO} eq '/pid';
        return sub { my $w = $_[0]->([200, []]); $w->write('x' x 60_000) while 1 };
    });
    my $gateway = dial('secret');
    greeted($gateway);
    ask($gateway, 1, '/endless');
    frames_from($gateway);
    close $gateway;
    $gateway = dial('secret');
    is greeted($gateway), $welcome, 'the next gateway is welcome';
    ask($gateway, 1, '/pid');
    is body_of(frames_from($gateway)), $pid, 'and served by the same process';
    syswrite $gateway, frame(DRAIN, 0, 0, '');
    waitpid $pid, 0;
    is $?, 0, 'a gateway relays DRAIN';
}

{
    my $pid = start(sub { $_[0]{'psgix.harakiri.commit'} = 1; [200, [], ['bye']] });
    my $gateway = dial('secret');
    greeted($gateway);
    ask($gateway, 1, '/');
    my @types;
    while (my @frames = frames_from($gateway)) { push @types, map { type_of($_) } @frames }
    is "@types", join(' ', RESPONSE, EXITING, IDLE), 'the gateway learns that the worker goes';
    is type_of(frames_from($keeper)), EXITING, 'and so does the keeper';
    waitpid $pid, 0;
    is $?, 0, 'it goes';
}

{
    my $pid = start(sub { });
    close $keeper;
    waitpid $pid, 0;
    is $?, 0, 'a worker whose keeper has gone goes';
}

{
    my $listen = PagiBridge::Listen->new("$dir/loop", token => 'secret', features => 'scopes ping', info => [PagiBridge::Mux::info()]);
    is $listen->accept, undef, 'accept does not wait';
    $path = "$dir/loop";
    my $gateway = dial('secret', 'scopes ping calls');
    my $socket = $listen->accept;
    ok $socket, 'a gateway is there';
    sysread $socket, my $hello, 65536;
    my $in = substr $hello, 0, 20;
    is_deeply [$listen->greet($socket, \$in)], [], 'a part of HELLO is no answer yet';
    $in = $hello . 'more';
    my ($answer, $terms) = $listen->greet($socket, \$in);
    is $in, 'more', 'what follows HELLO is left';
    is_deeply $terms->{features}, { scopes => 1, ping => 1 }, 'the features that both have';
    my ($first) = parse_frames(\$answer);
    my %pairs = (unpack_pairs(substr $first, HEADER_SIZE + 6))[0 .. 7];
    is_deeply [@pairs{qw(features streams)}], ['scopes ping', 1000], 'and WELCOME says so';

    my @opened;
    my $mux = PagiBridge::Mux->welcomed(peer => $terms->{peer}, on_scope => sub { push @opened, $_[0]->id });
    is ${ $mux->out }, '', 'a Mux on such a connection says no HELLO';
    $mux->feed(frame(SCOPE, 0, 1, ''));
    is_deeply \@opened, [1], 'and takes scopes at once';
}

done_testing;
