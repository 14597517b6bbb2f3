use strict;
use warnings;

use File::Temp qw(tempdir);
use POSIX ();
use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::Hint;

my $dir  = tempdir(CLEANUP => 1);
my $file = "$dir/app.psgi";
open my $out, '>', $file or die "$file: $!";
print {$out} "sub { my \$env = shift;\n  \$env->{'psgix.io'}->syswrite('x') }\n";
close $out;
my $app = do $file or die $@;

sub hint { return PagiBridge::Hint::error($_[0]) }

ok !eval { $app->({}); 1 }, 'an application that wants the connection dies';
like hint($@), qr/there is no psgix\.io/, 'the line of its file is looked at';
like hint("no page ' at /dev/zero line 1 ' $@"), qr/there is no psgix\.io/, 'the last place in the message counts';
is hint("no such page: undefined value at $file line 2 of yours at $dir/other line 7.\n"), '', 'a place before the last one does not count';

# What a client can put into a message. Reading any of these would not end.
POSIX::mkfifo("$dir/fifo", 0600) or die "mkfifo: $!";
for my $name ('/dev/zero', "$dir/fifo") {
    local $SIG{ALRM} = sub { die "still reading\n" };
    alarm 10;
    is eval { hint("undefined value at $name line 1 ") } // $@, '', "$name is not opened";
    is eval { local $INC{'x.pm'} = $name; hint("undefined value at $name line 1.\n") } // $@, '', "$name is not opened, though it was loaded";
    alarm 0;
}

open $out, '>', "$dir/other" or die $!;
print {$out} "psgix.io\n";
close $out;
is hint("undefined value at $dir/other line 1.\n"), '', 'a file that was not loaded is not read';
{
    local $INC{'other.pm'} = "$dir/other";
    like hint("undefined value at $dir/other line 1.\n"), qr/there is no psgix\.io/, 'one that was loaded is';
    is hint("undefined value at $dir/other line 9999999.\n"), '', 'a line that it does not have is none';
}

done_testing;
