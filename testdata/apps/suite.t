# Runs Plack::Test::Suite against the program named in PAGI_BRIDGE.
use strict;
use warnings;

use FindBin;
use Test::More;
use Plack::Test::Suite;

Plack::Test::Suite->run_server_tests(sub {
    my ($port) = @_;
    exec $ENV{PAGI_BRIDGE}, '--quiet', '--no-access-log', '-p', $port, '-w', 2, "$FindBin::Bin/suite.psgi";
});
done_testing;
