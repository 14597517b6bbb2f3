# Runs Plack::Test::Suite against the program named in PAGI_BRIDGE, with the flags in PAGI_BRIDGE_FLAGS.
use strict;
use warnings;

use FindBin;
use Test::More;
use Plack::Test::Suite;

Plack::Test::Suite->run_server_tests(sub {
    my ($port) = @_;
    exec $ENV{PAGI_BRIDGE}, '--quiet', '--no-access-log', '-p', $port, '-w', 2, split(' ', $ENV{PAGI_BRIDGE_FLAGS} || ''), "$FindBin::Bin/suite.psgi";
});
done_testing;
