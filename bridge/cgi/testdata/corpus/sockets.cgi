#!/usr/bin/perl
print "Content-Type: text/plain\n\n";
use Socket;
socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die; syswrite $a, "over\n"; print scalar <$b>;
use IO::Socket::INET; my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die; my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->sockport) or die;
my $conn = $server->accept; print {$client} "tcp\n"; $client->close; print scalar <$conn>;
