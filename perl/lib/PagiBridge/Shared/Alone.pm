package PagiBridge::Shared::Alone;

use strict;
use warnings;

use Time::HiRes ();

use PagiBridge::Shared ();

=head1 NAME

PagiBridge::Shared::Alone - what processes share, where there is one process and no gateway

=head1 SYNOPSIS

    my ($result, $payload) = PagiBridge::Shared::Alone::ask(PagiBridge::Shared::GET, pack('N/a*', $key));

=head1 DESCRIPTION

C<ask> does as L<PagiBridge::Shared/ask>, in this process: for tests, and for applications under other servers. Other processes
see nothing of it. Nothing is published. Values are dropped when there are too many, all at once.

=cut

use constant MOST => 10_000;

my (%values, %locks);    # keys: [value, end]; names: [id, end]
my $id = 0;

my %calls = (
    PagiBridge::Shared::GET() => sub {
        my (@keys) = unpack '(N/a*)*', $_[0];
        return (PagiBridge::Shared::OK, join '', map { my $v = found($_); defined $v ? pack 'C N/a*', 1, $v : "\0" } @keys);
    },
    PagiBridge::Shared::SET() => sub {
        my ($how, $ttl, $key, $value) = unpack 'C Q> N/a* N/a*', $_[0];
        my $has = defined found($key);
        return PagiBridge::Shared::NO if $how == 1 && $has || $how == 2 && !$has;
        store($key, $value, $ttl);
        return PagiBridge::Shared::OK;
    },
    PagiBridge::Shared::DELETE() => sub {
        my $deleted = grep { defined found($_) && delete $values{$_} } unpack '(N/a*)*', $_[0];
        return (PagiBridge::Shared::OK, pack 'N', $deleted);
    },
    PagiBridge::Shared::ADD() => sub {
        my ($by, $ttl, $key) = unpack 'q> Q> N/a*', $_[0];
        my $is = found($key);
        return (PagiBridge::Shared::ERROR, 'the value is not a whole number of 64 bits') if defined $is && $is !~ /\A[-+]?[0-9]{1,18}\z/;
        if (defined $is) { $values{$key}[0] = $is += $by }
        else             { store($key, $is = $by, $ttl) }
        return (PagiBridge::Shared::OK, pack 'q>', $is);
    },
    PagiBridge::Shared::CLEAR() => sub { %values = (); return PagiBridge::Shared::OK },
    PagiBridge::Shared::LOCK()  => sub {
        my (undef, $hold, $name) = unpack 'Q> Q> N/a*', $_[0];
        my $now = Time::HiRes::time();
        return PagiBridge::Shared::NO if $locks{$name} && $locks{$name}[1] > $now;    # no other process can give it back
        $locks{$name} = [++$id, $now + $hold / 1000];
        return (PagiBridge::Shared::OK, pack 'Q>', $id);
    },
    PagiBridge::Shared::UNLOCK() => sub {
        my ($hold, $name) = unpack 'Q> N/a*', $_[0];
        my $lock = $locks{$name};
        return PagiBridge::Shared::NO if !$lock || $lock->[0] != $hold;
        delete $locks{$name};
        return $lock->[1] > Time::HiRes::time() ? PagiBridge::Shared::OK : PagiBridge::Shared::NO;
    },
    PagiBridge::Shared::PUBLISH() => sub { return (PagiBridge::Shared::NO, '') },
);

=head1 FUNCTIONS

=head2 ask($call, $payload)

Returns the result and its payload.

=cut

sub ask {
    my ($call, $payload) = @_;
    return $calls{$call}->($payload);
}

sub found {
    my ($key) = @_;
    my $entry = $values{$key} or return;
    return $entry->[0] if !$entry->[1] || $entry->[1] > Time::HiRes::time();
    delete $values{$key};
    return;
}

sub store {
    my ($key, $value, $ttl) = @_;
    %values = () if keys %values >= MOST;
    $values{$key} = [$value, $ttl ? Time::HiRes::time() + $ttl / 1000 : 0];
    return;
}

1;
