use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";

use Gateway;
use PagiBridge::Wire qw(:frames);

{
    package Body;
    sub new     { my $class = shift; return bless [@_], $class }
    sub getline { return shift @{ $_[0] } }
    sub close   { ${ $main::closed }++; return }
}
our $closed;

pipe my $wait, my $go or die "pipe: $!";
sub until_told { sysread $wait, my $byte, 1; return }

my $pid = start(sub {
    my ($env) = @_;
    my $path = $env->{PATH_INFO};
    if ($path eq '/cleanup') {
        push @{ $env->{'psgix.cleanup.handlers'} }, sub { die "tidy\n" };
        return [200, [], ['kept']];
    }
    if ($path eq '/bad cleanup') {
        push @{ $env->{'psgix.cleanup.handlers'} }, undef, 0, '', sub { die "tidy\n" };
        return [200, [], ['kept']];
    }
    return sub {
        my ($respond) = @_;
        if ($path eq '/closed') {
            my $writer = $respond->([200, []]);
            $writer->write('written');
            eval { die "earlier\n" };
            $writer->close;
            $writer->close;
            until_told();
            die "no \$\@ but $@" if $@ ne "earlier\n";
            $writer->write('more');
        }
        $respond->([200, [], ['array']]) if $path eq '/array';
        if ($path eq '/object') {
            my $count = 0;
            local $closed = \$count;
            $respond->([200, [], Body->new('a', 'b')]);
            die "closed $count times\n";
        }
        until_told();
        $respond->([200, [], ['again']]) if $path eq '/array';
    };
});
close $wait;

sub served {
    my ($path, $want, $after, $name) = @_;
    to_worker(request(7, $path));
    is_deeply [answer(1)], $want, "$name: complete before the application returns";
    syswrite $go, 'x';
    is_deeply [answer()], $after, 'and what comes after it is told';
}

my $head = pack 'n N', 200, 0;
my $idle = [IDLE, 0, ''];
served('/closed', [[RESPONSE, 0, $head], [BODY, 0, 'written'], [BODY, FIN | BUSY, '']],
    [[LOG, LOG_ERROR, 'after the end of the answer: write on a closed writer'], $idle], 'a closed writer');
served('/array', [[RESPONSE, FIN | BUSY, "${head}array"]],
    [[LOG, LOG_ERROR, 'after the end of the answer: the responder was called twice'], $idle], 'a delayed array');
to_worker(request(8, '/object'));
is_deeply [answer()], [
    [RESPONSE, 0, $head], [BODY, 0, 'a'], [BODY, 0, 'b'], [BODY, FIN | BUSY, ''],
    [LOG, LOG_ERROR, 'after the end of the answer: closed 1 times'], $idle,
], 'a delayed object is closed with its end';
to_worker(request(9, '/cleanup'));
is_deeply [answer()], [
    [RESPONSE, FIN | BUSY, "${head}kept"], [LOG, LOG_ERROR, 'a cleanup handler died: tidy'], $idle,
], 'a cleanup handler';
to_worker(request(10, '/bad cleanup'));
my @told = answer();
is scalar(@told), 6, 'cleanup handlers of which three are none';
is_deeply [@told[0, 4, 5]], [[RESPONSE, FIN | BUSY, "${head}kept"], [LOG, LOG_ERROR, 'a cleanup handler died: tidy'], $idle], 'the one after them is called';
is scalar(grep { $_->[2] =~ /\Aa cleanup handler died: Can't use .* as a (?:subroutine|CODE) ref/ } @told), 3, 'and each of them is told';
is stop($pid), 0, 'ends when the gateway goes';

done_testing;
