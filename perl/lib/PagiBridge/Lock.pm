package PagiBridge::Lock;

use strict;
use warnings;

use PagiBridge         ();
use PagiBridge::Shared ();

=head1 NAME

PagiBridge::Lock - a lock that one process of a mount has at a time

=head1 SYNOPSIS

    my $lock = PagiBridge::lock('report', wait => 5) or return busy();
    write_report();
    undef $lock;

=head1 DESCRIPTION

C<PagiBridge::lock> returns such an object. The lock is given back when the object is destroyed in the process that has got it,
when that process ends, and after the time C<hold>. A process that it forks does not give it back.

=head1 METHODS

=head2 release

Gives the lock back, and returns true if this process has had it until now. False means that C<hold> was over, or that the
gateway was restarted: another process may have had it meanwhile.

=cut

use constant { MAX_NAME => 250, HOLD => 60, MAX_HOLD => 86400 };

# take is PagiBridge::lock.
sub take {
    my ($name, %options) = @_;
    my $wait = defined $options{wait} ? delete $options{wait} : 0;
    my $hold = defined $options{hold} ? delete $options{hold} : HOLD;
    my $future = delete $options{future};
    wrong('a name of 1 to 250 bytes') if !defined $name || $name eq '' || !utf8::downgrade($name, 1) || length $name > MAX_NAME;
    wrong('a time wait of at most a day in seconds') if $wait !~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/ || $wait > MAX_HOLD;
    wrong('a time hold of at most a day in seconds') if $hold !~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/ || $hold < 0.001 || $hold > MAX_HOLD;
    wrong('the options wait, hold and future, and not ' . (sort keys %options)[0]) if %options;
    my $payload = pack 'Q> Q> N/a*', int $wait * 1000, int $hold * 1000, $name;
    my $got = sub {
        my ($result, $id, $connection) = @_;
        return if $result != PagiBridge::Shared::OK;
        return bless { name => $name, id => $id, pid => $$, connection => $connection }, __PACKAGE__;
    };
    if ($future) {
        PagiBridge::needs('PagiBridge/Shared/Loop.pm');
        return PagiBridge::Shared::Loop::ask(PagiBridge::Shared::LOCK, $payload, $wait, $got, undef);
    }
    my ($result, $id) = PagiBridge::Shared::answer_of(PagiBridge::Shared::LOCK, $payload, $wait);
    return if !defined $result;
    return $got->($result, $id, PagiBridge::Shared::latest());
}

sub wrong {
    my ($what) = @_;
    my (undef, $file, $line) = caller 2;
    die "PagiBridge::lock wants $what at $file line $line.\n";
}

sub release {
    my ($self) = @_;
    return 0 if $self->{pid} != $$ || $self->{released}++;
    my $payload = pack 'a8 N/a*', $self->{id}, $self->{name};
    my ($result) = PagiBridge::Shared::answer_by(delete $self->{connection}, PagiBridge::Shared::UNLOCK, $payload);
    return defined $result && $result == PagiBridge::Shared::OK ? 1 : 0;
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{released} || $self->{pid} != $$ || ${^GLOBAL_PHASE} eq 'DESTRUCT';    # the gateway sees the end of the process
    local ($@, $!, $?);
    eval { $self->release };
    return;
}

1;
