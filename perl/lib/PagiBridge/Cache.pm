package PagiBridge::Cache;

use strict;
use warnings;

use PagiBridge         ();
use PagiBridge::Shared ();

=head1 NAME

PagiBridge::Cache - values that all processes of a mount share

=head1 SYNOPSIS

    my $cache = PagiBridge::cache(prefix => 'user:', ttl => 300);
    my $name = $cache->get(42);
    if (!defined $name) {
        $name = name_from_database(42);
        $cache->set(42, $name);
    }
    $cache->set(43, 'Ann', 60);             # for a minute
    $cache->add('once', 1, 3600) or return; # another process was first
    my $visits = $cache->incr('visits');

=head1 DESCRIPTION

The values are in the memory of the gateway. They are gone when it ends, and any of them may go earlier to make room for
others. Keys and values are bytes: text must be encoded, and structures serialized. A key has 1 to 250 bytes with the prefix, a
value at most 1 MiB. Anything else is an exception.

A method takes about a tenth of a millisecond. When the gateway does not answer within a second, it behaves as if there were no value,
and warns.

In a process that pagi-bridge has not started, values are in the memory of that process alone, so that an application can
be tested without a gateway.

=head1 METHODS

=head2 new(%options)

C<prefix> stands before all keys. C<ttl> is how long values are kept, in seconds, where a method does not say it; without it
they have no end. With C<future> the methods return a L<Future> of their result, for applications in an event loop of
L<IO::Async>. C<PagiBridge::cache(%options)> does the same.

=cut

use constant { MAX_KEY => 250, MAX_VALUE => 1 << 20, MAX_KEYS => 1000 };

sub new {
    my ($class, %options) = @_;
    my $prefix = defined $options{prefix} ? $options{prefix} : '';
    wrong('new', 'a prefix of bytes') if !utf8::downgrade($prefix, 1);
    check_ttl('new', $options{ttl});
    my @unknown = grep { !/\A(?:prefix|ttl|future)\z/ } sort keys %options;
    wrong('new', "the options prefix, ttl and future, and not $unknown[0]") if @unknown;
    return bless { prefix => $prefix, ttl => $options{ttl}, future => $options{future} }, $class;
}

=head2 get($key)

Returns the value, or undef if there is none.

=cut

sub get {
    my ($self, $key) = @_;
    my $of = $self->key('get', $key);
    return $self->ask(PagiBridge::Shared::GET, pack('N/a*', $of), sub { return (values_in($_[1]))[0] });
}

=head2 get_multi(@keys)

Returns a reference to a hash with the values that there are, by their keys: of up to 1000 keys, with 16 MiB together.

=cut

sub get_multi {
    my ($self, @keys) = @_;
    wrong('get_multi', 'at most 1000 keys') if @keys > MAX_KEYS;
    my $payload = pack '(N/a*)*', map { $self->key('get_multi', $_) } @keys;
    return $self->ask(PagiBridge::Shared::GET, $payload, sub {
        my %found;
        my @values = values_in($_[1]);
        for my $i (0 .. $#values) { $found{ $keys[$i] } = $values[$i] if defined $values[$i] }
        return \%found;
    }, {});
}

# values_in takes the answer of GET apart.
sub values_in {
    my ($payload) = @_;
    my ($at, @values) = (0);
    while ($at < length $payload) {
        if (!vec $payload, $at++, 8) { push @values, undef; next }
        my $value = unpack "x$at N/a*", $payload;
        $at += 4 + length $value;
        push @values, $value;
    }
    return @values;
}

=head2 set($key, $value, $ttl), add($key, $value, $ttl), replace($key, $value, $ttl)

Store a value: C<set> always, C<add> only if there is none, C<replace> only if there is one. They return true if the value was
stored.

=cut

sub set     { return store('set',     0, @_) }
sub add     { return store('add',     1, @_) }
sub replace { return store('replace', 2, @_) }

sub store {
    my ($method, $how, $self, $key, $value, $ttl) = @_;
    $ttl = $self->{ttl} if !defined $ttl;
    check_ttl($method, $ttl, 1);
    my $of = $self->key($method, $key, 1);
    wrong($method, 'a value of at most 1 MiB of bytes', 1)
        if !defined $value || ref $value || !utf8::downgrade($value, 1) || length $value > MAX_VALUE;
    return $self->ask(PagiBridge::Shared::SET, pack('C Q> N/a* N/a*', $how, milliseconds($ttl), $of, $value),
        sub { return $_[0] == PagiBridge::Shared::OK ? 1 : 0 }, 0);
}

=head2 incr($key, $by, $ttl), decr($key, $by, $ttl)

Add C<$by>, 1 by default, to a counter or take it away, and return what the counter is then. No other process can come
between. A counter without a value begins at 0, and has C<$ttl> from then on. It returns undef when the gateway does not
answer, and dies if the value is no whole number.

=cut

sub incr { return change('incr', 1,  @_) }
sub decr { return change('decr', -1, @_) }

sub change {
    my ($method, $sign, $self, $key, $by, $ttl) = @_;
    $by = 1 if !defined $by;
    $ttl = $self->{ttl} if !defined $ttl;
    wrong($method, 'a whole number', 1) if $by !~ /\A-?[0-9]{1,18}\z/;
    check_ttl($method, $ttl, 1);
    my $of = $self->key($method, $key, 1);
    return $self->ask(PagiBridge::Shared::ADD, pack('q> Q> N/a*', $sign * $by, milliseconds($ttl), $of),
        sub { return unpack 'q>', $_[1] });
}

=head2 delete(@keys)

Removes values, and returns how many there were.

=cut

sub delete {    ## no critic (ProhibitBuiltinHomonyms)
    my ($self, @keys) = @_;
    wrong('delete', 'at most 1000 keys') if @keys > MAX_KEYS;
    my $payload = pack '(N/a*)*', map { $self->key('delete', $_) } @keys;
    return $self->ask(PagiBridge::Shared::DELETE, $payload, sub { return unpack 'N', $_[1] }, 0);
}

=head2 clear

Removes all values of the mount, whatever their prefix.

=cut

sub clear {
    my ($self) = @_;
    return $self->ask(PagiBridge::Shared::CLEAR, '', sub { return 1 }, 0);
}

# ask makes a call, and has its answer read: the result and its payload. Without an answer it is $without.
sub ask {
    my ($self, $call, $payload, $read, $without) = @_;
    if ($self->{future}) {
        PagiBridge::needs('PagiBridge/Shared/Loop.pm');
        return PagiBridge::Shared::Loop::ask($call, $payload, 0, $read, $without);
    }
    my ($result, $answer) = PagiBridge::Shared::answer_of($call, $payload);
    return $without if !defined $result;
    return scalar $read->($result, $answer);
}

# key returns a key with the prefix.
sub key {
    my ($self, $method, $key, $further) = @_;
    $key = $self->{prefix} . (defined $key ? $key : '');
    wrong($method, 'a key of 1 to 250 bytes', 1 + ($further || 0)) if $key eq '' || !utf8::downgrade($key, 1) || length $key > MAX_KEY;
    return $key;
}

sub check_ttl {
    my ($method, $ttl, $further) = @_;
    return if !defined $ttl || $ttl =~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/;
    return wrong($method, 'a time in seconds', 1 + ($further || 0));
}

# milliseconds returns a time, 0 for none. What is less than a millisecond is one.
sub milliseconds {
    my ($ttl) = @_;
    return 0 if !defined $ttl || !$ttl;
    return $ttl > 1e9 ? 0 : $ttl < 0.001 ? 1 : int($ttl * 1000);
}

# wrong dies at the place of the application that has called a method.
sub wrong {
    my ($method, $what, $further) = @_;
    my (undef, $file, $line) = caller 1 + ($further || 0);
    die "PagiBridge::Cache::$method wants $what at $file line $line.\n";
}

1;
