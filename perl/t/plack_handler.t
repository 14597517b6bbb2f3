use strict;
use warnings;

use Test::More;

use File::Spec ();
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/../plack/lib";

# Needs the program, named by PAGI_BRIDGE.
plan skip_all => 'PAGI_BRIDGE names no program' if !$ENV{PAGI_BRIDGE};
plan skip_all => 'Plack and Test::TCP are not installed' if !eval { require Plack::Loader; require Plack::Test::Suite; require Test::TCP; 1 };

my $dir = tempdir(CLEANUP => 1);

sub failure {
    my (%options) = @_;
    return eval { Plack::Loader->load('PagiBridge', port => 0, %options)->run(sub { }); 1 } ? 'none' : $@;
}

{
    local $ENV{PAGI_BRIDGE};
    local $ENV{PATH} = $dir;
    like failure(), qr/pagi-bridge is not in PATH; the environment variable PAGI_BRIDGE/, 'no program is found';
}
like failure(pagi_bridge => "$dir/none"), qr{\Q$dir\E/none is no program that can be run}, 'the program that an option names is missing';
like failure(daemonize => 1), qr/daemonize is not possible/, 'what cannot be done is refused';
{
    open my $save, '>&', \*STDERR or die $!;
    open STDERR, '>', "$dir/errors" or die $!;
    my $failure = failure(no_such_flag => 1);
    open STDERR, '>&', $save or die $!;
    like $failure, qr/ended with status [1-9]/, 'an unknown option';
    open my $in, '<', "$dir/errors" or die $!;
    like join('', <$in>), qr/no-such-flag/, 'is named';
}

# Plack::Runner joins host and port without brackets.
for ([ '::1:5000', '[::1]:5000' ], [ '[::1]:80', '[::1]:80' ], [ '127.0.0.1:80', '127.0.0.1:80' ], [ ':5000', ':5000' ], [ '/a/b:1', '/a/b:1' ]) {
    my ($given, $want) = @$_;
    is join(' ', Plack::Handler::PagiBridge->new(listen => [$given])->places), $want, "the place $given";
}

# The application is a closure of this process. TERM ends the handler and all it has started.
{
    my $kept   = 'of this process';
    my $server = Test::TCP->new(code => sub {
        my ($port) = @_;
        my $app = sub { [200, [], ["$kept ", $_[0]{'psgi.multiprocess'} ? 'many' : 'one', ' ', $$]] };
        Plack::Loader->load('PagiBridge', host => '127.0.0.1', port => $port, workers => 2)->run($app);
        exit 0;
    });
    require HTTP::Tiny;
    my $answer = HTTP::Tiny->new->get('http://127.0.0.1:' . $server->port . '/');
    like $answer->{content}, qr/\Aof this process many [0-9]+\z/, 'a closure is served';
    my ($worker) = $answer->{content} =~ /([0-9]+)\z/;
    ok kill(0, $worker), 'by a worker';
    undef $server;    # TERM, and waits
    for (1 .. 200) { last if !kill 0, $worker; select undef, undef, undef, 0.05 }
    ok !kill(0, $worker), 'which ends with the handler';
}

# One worker, unless an option says otherwise: what a request leaves is there in the next.
{
    my $server = Test::TCP->new(code => sub {
        my ($port) = @_;
        my $count = 0;
        Plack::Loader->load('PagiBridge', host => '127.0.0.1', port => $port)->run(sub { [200, [], [++$count]] });
        exit 0;
    });
    my $url = 'http://127.0.0.1:' . $server->port . '/';
    is join(' ', map { HTTP::Tiny->new->get($url)->{content} } 1 .. 3), '1 2 3', 'one worker by default';
}

# As plackup is called.
{
    my $app = "$dir/app.psgi";
    open my $out, '>', $app or die $!;
    print {$out} 'my $name = __FILE__; sub { [200, [], [$name]] }';
    close $out;
    my $server = Test::TCP->new(code => sub {
        my ($port) = @_;
        exec $^X, "-I$FindBin::Bin/../plack/lib", '-MPlack::Runner', '-e',
            'my $runner = Plack::Runner->new; $runner->parse_options(@ARGV); $runner->run', '--',
            '-s', 'PagiBridge', '-E', 'deployment', '--listen', "127.0.0.1:$port", '--workers', 1, $app;
    });
    is +HTTP::Tiny->new->get('http://127.0.0.1:' . $server->port . '/')->{content}, $app, 'plackup -s PagiBridge';
}

# As a test that runs its application on a server.
{
    local @ENV{qw(PLACK_SERVER PLACK_TEST_IMPL)} = ('PagiBridge', 'Server');
    require Plack::Test;
    require HTTP::Request::Common;
    my $seen = 'closure';
    my $test = Plack::Test->create(sub { [200, ['X-Seen' => $seen], [$_[0]{PATH_INFO}]] });
    my $answer = $test->request(HTTP::Request::Common::GET('/path'));
    is $answer->content, '/path', 'PLACK_SERVER=PagiBridge with Plack::Test';
    is $answer->header('X-Seen'), 'closure', 'and what the test has';
}

# Plack's own suite for servers.
Plack::Test::Suite->run_server_tests('PagiBridge');

done_testing;
