package PagiBridge::Sockets;

use strict;
use warnings;

use Socket qw(AF_INET AF_INET6 AF_UNIX SOL_SOCKET SO_ACCEPTCONN SO_TYPE SOCK_DGRAM
    inet_ntop sockaddr_family unpack_sockaddr_in unpack_sockaddr_in6 unpack_sockaddr_un);

=head1 NAME

PagiBridge::Sockets - which sockets this process has open, and where they lead

=head1 SYNOPSIS

    my @places = PagiBridge::Sockets::places(fileno $mine);
    # ('tcp 127.0.0.1:5432', 'unix /run/mysqld/mysqld.sock')

=head1 DESCRIPTION

Looks through F</proc/self/fd>. On a system without that directory it finds nothing.

=head1 FUNCTIONS

=head2 descriptors

Returns the numbers of all open descriptors.

=cut

sub descriptors {
    opendir my $dir, '/proc/self/fd' or return;
    my @all = sort { $a <=> $b } grep {/\A[0-9]+\z/} readdir $dir;
    closedir $dir;
    return @all;
}

=head2 places(@except)

Returns where each open socket leads, as text for people. It leaves out the sockets with the
given descriptors.

=cut

sub places {
    my %except = map { $_ => 1 } @_;
    my @places;
    for my $fd (grep { !$except{$_} } descriptors()) {
        my $target = readlink "/proc/self/fd/$fd";
        next if !defined $target || $target !~ /\Asocket:/;
        open my $copy, '+<&', $fd or next;    # closed again; the descriptor itself stays
        push @places, place($copy);
        close $copy;
    }
    return @places;
}

sub place {
    my ($socket) = @_;
    my $listens = option($socket, SO_ACCEPTCONN);
    if (!$listens && defined(my $peer = getpeername $socket)) {
        return address($socket, $peer);
    }
    my $own = getsockname $socket;
    return 'a socket of an unknown kind' if !defined $own;
    return ($listens ? 'listening at ' : 'not connected, ') . address($socket, $own);
}

sub address {
    my ($socket, $packed) = @_;
    # An unnamed Unix socket may have no address at all.
    my $family = length $packed >= 2 ? sockaddr_family($packed) : AF_UNIX;
    my $kind = (option($socket, SO_TYPE) || 0) == SOCK_DGRAM ? 'udp' : 'tcp';
    if ($family == AF_INET) {
        my ($port, $host) = unpack_sockaddr_in($packed);
        return "$kind " . inet_ntop(AF_INET, $host) . ":$port";
    }
    if ($family == AF_INET6) {
        my ($port, $host) = unpack_sockaddr_in6($packed);
        return "$kind [" . inet_ntop(AF_INET6, $host) . "]:$port";
    }
    return "a socket of address family $family" if $family != AF_UNIX;
    my $path = length $packed > 2 ? unpack_sockaddr_un($packed) : '';
    $path =~ s/\0.*//s if $path !~ /\A\0/;
    $path =~ tr/\0/@/;    # an abstract name
    return $path =~ /[^@]/ ? "unix $path" : 'unix, without a name';
}

sub option {
    my ($socket, $name) = @_;
    my $packed = getsockopt $socket, SOL_SOCKET, $name;
    return defined $packed ? unpack 'i', $packed : undef;
}

1;
