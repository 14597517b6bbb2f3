use strict;
use warnings;

use POSIX ();
use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";

use Gateway;
use PagiBridge::Wire qw(:frames);

plan skip_all => 'needs /proc' if !-r '/proc/self/statm';

# resident returns the process's resident memory in KiB.
sub resident {
    open my $statm, '<', '/proc/self/statm' or die "statm: $!";
    return POSIX::sysconf(POSIX::_SC_PAGESIZE()) / 1024 * (split ' ', readline $statm)[1];
}

my %kinds = (
    array     => sub { [200, ['X-A' => 'b'], ['hello']] },
    handle    => sub { open my $fh, '<', \('x' x 1000) or die; [200, [], $fh] },
    file      => sub { open my $fh, '<', $0 or die; [200, [], $fh] },
    delayed   => sub { sub { $_[0]->([200, [], ['hello']]) } },
    streaming => sub { sub { my $w = $_[0]->([200, []]); $w->write('hello'); $w->close } },
    unclosed  => sub { sub { $_[0]->([200, []])->write('hello') } },
    dying     => sub { die { code => 42 } },
    invalid   => sub { [200] },
    cleanup   => sub { my $env = shift; push @{ $env->{'psgix.cleanup.handlers'} }, sub { 1 }; [200, [], []] },
);
my $pid = start(sub {
    my ($env) = @_;
    return [200, [], [resident()]] if $env->{PATH_INFO} eq 'resident';
    return $kinds{ $env->{PATH_INFO} }->($env);
});

sub serve {
    my ($kind, $times) = @_;
    for (1 .. $times) {
        to_worker(request($_, $kind));
        answer();
    }
    to_worker(request(1, 'resident'));
    return substr +(answer())[0][2], 6;
}

for my $kind (sort keys %kinds) {
    my $before = serve($kind, 500);
    my $growth = serve($kind, 2500) - $before;
    cmp_ok $growth, '<', 128, "$kind: grown by $growth KiB in 2500 requests";
}
is stop($pid), 0, 'ends when the gateway goes';

done_testing;
