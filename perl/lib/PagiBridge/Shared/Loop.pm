package PagiBridge::Shared::Loop;

use strict;
use warnings;

use parent 'PagiBridge::Shared';

use Future          ();
use IO::Async::Loop ();
use Scalar::Util qw(weaken);
use Time::HiRes ();

=head1 NAME

PagiBridge::Shared::Loop - asks the gateway for what is shared, and lets an event loop go on meanwhile

=head1 SYNOPSIS

    my $future = PagiBridge::Shared::Loop::ask(PagiBridge::Shared::GET, pack('N/a*', $key), 0, sub { my ($result, $payload) = @_; ... }, undef);

=head1 DESCRIPTION

A connection of the process beside that of L<PagiBridge::Shared>, which the loop of L<IO::Async> watches. Calls are written at once.
Their answers make Futures ready.

=head1 FUNCTIONS

=head2 ask($call, $payload, $wait, $read, $without)

Makes a call, and returns a Future of what C<$read> returns for the result, the payload and the connection. Without an answer it
warns, and the Future has C<$without>. The Future fails if the gateway says that the call was wrong. A Future that
is cancelled gives a lock back that comes later.

=cut

my $current;

sub ask {
    my ($call, $payload, $wait, $read, $without) = @_;
    if (PagiBridge::Shared::is_alone()) {
        my @answer = eval { PagiBridge::Shared::alone($call, $payload) } or return Future->fail($@);
        return Future->done(scalar $read->(@answer));
    }
    my $future = eval {
        local $SIG{PIPE} = 'IGNORE';
        connection()->begin($call, $payload, $wait, $read, $without);
    };
    return $future if $future;
    die $@ if $@ !~ /\Ashared: /;
    PagiBridge::Shared::trouble($@);
    return Future->done($without);
}

sub connection {
    my $address = PagiBridge::Shared::address();
    die "shared: no gateway has connected to this process yet\n" if !defined $address;
    if ($current) {
        return $current if $current->{address} eq $address && $current->{pid} == $$ && !$current->{broken};
        $current->{replaced} = 1;
        $current->rest;
        undef $current;
    }
    my $new = __PACKAGE__->new($address);
    $new->{futures} = {};    # what waits for answers, by the ids of the calls
    my ($result, $why) = $new->call(PagiBridge::Shared::HELLO, $new->{token}, Time::HiRes::time() + PagiBridge::Shared::PATIENCE);
    die "shared: $why\n" if $result != PagiBridge::Shared::OK;
    $new->{loop} = IO::Async::Loop->new;
    return $current = $new;
}

=head1 METHODS

Those of L<PagiBridge::Shared>, and

=head2 begin($call, $payload, $wait, $read, $without)

That of C<ask>.

=cut

sub begin {
    my ($self, $call, $payload, $wait, $read, $without) = @_;
    my $now    = Time::HiRes::time();
    my $id     = $self->send_call($call, $payload, $now + PagiBridge::Shared::PATIENCE);
    my $loop   = $self->{loop};
    my $future = $loop->new_future;
    my $name   = $call == PagiBridge::Shared::LOCK ? substr $payload, 20 : undef;
    my $timer  = $loop->watch_time(after => PagiBridge::Shared::PATIENCE + $wait, code => sub {
        return if !delete $self->{futures}{$id};
        $self->{late}{$id} = $name if defined $name;
        PagiBridge::Shared::trouble("shared: the gateway has not answered in time\n");
        $self->rest;
        $future->done($without);
    });
    $self->{futures}{$id} = { future => $future, read => $read, without => $without, timer => $timer };
    weaken(my $weak = $self);
    $future->on_cancel(sub {
        return if !$weak || !delete $weak->{futures}{$id};
        $weak->{late}{$id} = $name if defined $name;
        $loop->unwatch_time($timer);
        $weak->rest;
    });
    $self->watch;
    return $future;
}

# watch has the loop tell of answers, as long as some are to come.
sub watch {
    my ($self) = @_;
    return if $self->{watches}++;
    $self->{loop}->watch_io(handle => $self->{socket}, on_read_ready => sub {
        return if eval { local $SIG{PIPE} = 'IGNORE'; $self->fill; 1 };
        my $error = $@;
        $self->{broken} = 1;
        PagiBridge::Shared::trouble($error);
        my @lost = values %{ $self->{futures} };
        %{ $self->{futures} } = %{ $self->{late} } = ();
        $self->rest;
        for my $one (@lost) {
            $self->{loop}->unwatch_time($one->{timer});
            $one->{future}->done($one->{without});
        }
    });
    return;
}

# rest stops that. A lock that was asked for may still come.
sub rest {
    my ($self) = @_;
    return if !$self->{watches} || %{ $self->{futures} } || %{ $self->{late} };
    $self->{loop}->unwatch_io(handle => $self->{socket}, on_read_ready => 1);
    $self->{watches} = 0;
    return;
}

sub take {
    my ($self, $id, $result, $payload) = @_;
    my $one = delete $self->{futures}{$id};
    if (!$one) {
        $self->SUPER::take($id, $result, $payload);
        return $self->rest;
    }
    $self->{loop}->unwatch_time($one->{timer});
    $self->rest;
    my $future = $one->{future};
    return $future->fail("PagiBridge: $payload\n") if $result == PagiBridge::Shared::ERROR;
    $future->done(scalar $one->{read}->($result, $payload, $self));
    return;
}

1;
