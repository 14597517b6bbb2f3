#!/usr/bin/env perl

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use JSON::PP ();
use MIME::Base64 qw(decode_base64url encode_base64url);

=head1 NAME

session-cookie.pl - verify and read a signed session cookie of pagi-bridge

=head1 SYNOPSIS

    session-cookie.pl --name pagi_session --keys keys.txt < token

=head1 DESCRIPTION

A Go application whose C<session.CookieStore> has C<Signed> set keeps its sessions in signed cookies.
Perl code that has the keys can read them. This program shows how, with core modules only. It reads
the cookie's value from standard input, verifies it, and prints the session as JSON. A token that is
not valid is an error: the program prints nothing, and exits with 1.

=over

=item --name NAME

The name of the cookie, with its C<__Host-> prefix if it has one. The signature is bound to it.

=item --keys FILE

The file of the keys. Each line has a key's id, a space, and its secret in hexadecimal.

=back

=head1 THE TOKEN

    s1.KEY_ID.PAYLOAD.SIGNATURE

PAYLOAD is JSON as base64url without padding. SIGNATURE is, also as base64url, the HMAC-SHA256 of
these bytes, with the secret as its key:

    "pagi session s1\n" NAME "\n" "s1.KEY_ID.PAYLOAD"

The JSON object has C<id>, C<created>, C<used> and C<deadline> (Unix times in seconds; without a
C<deadline> the session does not expire) and C<data>, an object with the session's values. Keys that
begin with an underscore are the middleware's own. The token does not hold the server's idle and
absolute limits, but C<deadline> follows from both.

=cut

my $MAX_COOKIE = 4096;

# verify returns the session of a token as a hash reference, or undef if the token is not valid.
# %$keys are the secrets by key id.
sub verify {
    my ($token, $name, $keys, $now) = @_;
    return if length $token > $MAX_COOKIE;
    my ($signed, $key_id, $payload, $signature) =
        $token =~ /\A(s1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+))\.([A-Za-z0-9_-]{43})\z/
        or return;
    my $secret = $keys->{$key_id};
    return if !defined $secret;
    my $expected = encode_base64url(hmac_sha256("pagi session s1\n$name\n$signed", $secret));
    return if !same($expected, $signature);
    my $session = eval { JSON::PP->new->utf8->decode(decode_base64url($payload)) };
    return if ref $session ne 'HASH';
    return if $session->{deadline} && $now >= $session->{deadline};
    return $session;
}

# same compares two strings in a time that does not tell where they differ.
sub same {
    my ($x, $y) = @_;
    return 0 if length $x != length $y;
    my $difference = 0;
    $difference |= ord(substr $x, $_, 1) ^ ord(substr $y, $_, 1) for 0 .. length($x) - 1;
    return $difference == 0;
}

sub read_keys {
    my ($file) = @_;
    my %keys;
    open my $in, '<', $file or die "$file: $!\n";
    while (my $line = <$in>) {
        next if $line =~ /\A\s*(?:#.*)?\Z/;
        my ($id, $hex) = $line =~ /\A(\S+) ((?:[0-9A-Fa-f]{2})+)\Z/ or die "$file: line $. is no key\n";
        die "$file: the secret of line $. is shorter than 32 bytes\n" if length $hex < 64;
        $keys{$id} = pack 'H*', $hex;
    }
    close $in;
    return \%keys;
}

sub main {
    my %options = @_;
    my $keys = read_keys($options{'--keys'} // die "give --keys FILE\n");
    my $token = do { local $/; <STDIN> } // '';
    chomp $token;
    my $session = verify($token, $options{'--name'} // 'pagi_session', $keys, time);
    die "the token is not valid\n" if !$session;
    print JSON::PP->new->utf8->canonical->encode($session), "\n";
    return 0;
}

if (!caller) {
    die "usage: $0 --name NAME --keys FILE < token\n" if @ARGV % 2;
    exit(eval { main(@ARGV) } // do { print STDERR $@; 1 });
}

1;
