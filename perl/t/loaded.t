use strict;
use warnings;

use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/lib";

use Gateway;
use PagiBridge::Loaded;
use PagiBridge::PSGI;
use PagiBridge::Wire qw(:frames LOADED frame);

my $dir = tempdir(CLEANUP => 1);
for my $name (qw(Before After)) {
    open my $out, '>', "$dir/$name.pm" or die "$name: $!";
    print {$out} "package $name; 1;\n";
    close $out or die "$name: $!";
}
unshift @INC, $dir;
require Before;
{
    no warnings 'once';
    $INC{'Made/Up.pm'} = sub { };
    $INC{'Not/There.pm'} = '/no/such/file.pm';
    $INC{'Failed.pm'}   = undef;
}

sub loaded { return map { $_->[0] == LOADED ? unpack '(N/a*)*', $_->[2] : () } @_ }

{
    package Collector;
    sub new { return bless { out => '' }, shift }
    sub tell { $_[0]{out} .= $_[1]; return }
}

chdir $dir or die "$dir: $!";
$INC{'Relative.pm'} = 'Before.pm';
my $collector = Collector->new;
my $loaded    = PagiBridge::Loaded->new(undef);
$loaded->report($collector);
my ($length, $stream, $type, $flags, $payload) = unpack 'N N C C a*', $collector->{out};
is_deeply [$length, $stream, $type, $flags], [length $payload, 0, LOADED, 0], 'one frame';
my %told = map { $_ => 1 } unpack '(N/a*)*', $payload;
ok $told{"$dir/Before.pm"}, 'a module';
ok $told{ getcwd() . '/Before.pm' }, 'a relative name, made absolute';
ok $told{ $INC{'strict.pm'} }, "perl's own, too";
ok !grep({ !m{\A/} || m{/PagiBridge/} || m{/no/such/} } keys %told), 'only absolute names of files that are there';
$collector->{out} = '';
$loaded->report($collector);
is $collector->{out}, '', 'nothing twice';

my $pid = start(sub { require After if $_[0]{PATH_INFO} eq '/load'; [200, [], ['done']] }, 0, sub { PagiBridge::Loaded->new($_[0]) });
to_worker request(1, '/');
my @first = answer();
push @first, map { [unpack('x8 C C', $_), substr $_, HEADER_SIZE] } next_frames() if !loaded(@first);
ok scalar(grep { $_ eq "$dir/Before.pm" } loaded(@first)), 'reported by a worker';
to_worker request(2, '/load');
my @frames = answer();
push @frames, map { [unpack('x8 C C', $_), substr $_, HEADER_SIZE] } next_frames() if !loaded(@frames);
is_deeply [loaded(@frames)], ["$dir/After.pm"], 'what a request has loaded';
to_worker request(3, '/load');
is_deeply [map { $_->[0] } answer()], [RESPONSE], 'and nothing when there is nothing new';
is stop($pid), 0;
chdir '/';

done_testing;
