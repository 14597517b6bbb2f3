use strict;
use warnings;

# The ways in which an application can answer its lifespan, by the environment variable STARTUP.

use Future::AsyncAwait;

my $way = $ENV{STARTUP};
if ($way =~ s{\Afile:}{}) {    # so that it can change while a test runs
    open my $in, '<', $way or die "$way: $!\n";
    chomp($way = <$in>);
}
die "STARTUP=die-loading\n" if $way eq 'die-loading';
my $state = 'none';

async sub app {
    my ($scope, $receive, $send) = @_;
    if ($scope->{type} eq 'lifespan') {
        return if $way eq 'return';
        my $event = await $receive->();
        die "no lifespan here\n" if $way eq 'die';
        return await $send->({ type => 'lifespan.startup.failed', message => 'no database' }) if $way eq 'failed';
        await IO::Async::Loop->new->delay_future(after => 0.05) if $way eq 'slow';
        $scope->{state}{way} = $way;
        await $send->({ type => 'lifespan.startup.complete' });
        $scope->{state}{late} = 1;    # only for this scope
        die "dead after the startup\n" if $way eq 'die-later';
        await $receive->();
        return await $send->({ type => 'lifespan.shutdown.failed', message => 'cannot clean up' }) if $way eq 'shutdown-failed';
        return await $send->({ type => 'lifespan.shutdown.complete' });
    }
    await $send->({ type => 'http.response.start', status => 200 });
    await $send->({ type => 'http.response.body', body => join ',', map {"$_=$scope->{state}{$_}"} sort keys %{ $scope->{state} } });
}

\&app;
