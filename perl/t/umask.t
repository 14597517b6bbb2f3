use strict;
use warnings;

use IO::Socket::UNIX;
use File::Temp qw(tempdir);
use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::Wire qw(:frames frame pack_pairs parse_frames);

# The worker program as a whole: which umask the application finds.
my $dir = tempdir(CLEANUP => 1);
umask oct '0022';

sub umask_with {
    my (@pairs) = @_;
    my $path   = "$dir/socket";
    my $server = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die "$path: $!";
    my @config = (socket => $path, token => 'x', name => '/', workers => 1, code => 'die sprintf "umask %04o\n", umask', @pairs);
    open my $worker, '|-', $^X, "$FindBin::Bin/../bin/pagi-worker.pl" or die "perl: $!";
    binmode $worker;
    print {$worker} pack_pairs(@config);
    shutdown_write($worker);
    my $conn = $server->accept or die "accept: $!";
    syswrite $conn, frame(WELCOME, 0, 0, pack('n N', VERSION, $$) . pack_pairs(features => 'requests'));
    my $in = do { local $/; <$conn> };
    unlink $path;
    my ($failed) = grep { unpack('x8 C', $_) == FAILED } parse_frames(\$in);
    return substr $failed, HEADER_SIZE;
}

# close would wait for the worker.
sub shutdown_write {
    my ($handle) = @_;
    $handle->flush;
    require POSIX;
    POSIX::close(fileno $handle);
    return;
}

is umask_with(), "umask 0022\n", 'the one it was started with';
is umask_with(umask => oct '0027'), "umask 0027\n", 'the one it is told';
is umask_with(umask => 0), "umask 0000\n", 'none at all';

done_testing;
