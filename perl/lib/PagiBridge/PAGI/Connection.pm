package PagiBridge::PAGI::Connection;

use strict;
use warnings;

=head1 NAME

PagiBridge::PAGI::Connection - pagi.connection: is the client of an http request still there

=head1 SYNOPSIS

    my $conn = $scope->{'pagi.connection'};
    return if !$conn->is_connected;
    $conn->on_disconnect(sub { my ($reason) = @_; ... });
    $conn->on_complete(sub { ... });
    await Future->wait_any($work, $conn->disconnect_future);

=head1 DESCRIPTION

A request ends in one of two ways: it is complete, or it is disconnected for a reason. An exception in a
callback becomes a warning.

=head1 METHODS

=cut

sub new {
    my ($class, $loop) = @_;
    # The runtime sets started. When the request has ended there is ended, and reason after a disconnect.
    return bless { loop => $loop }, $class;
}

=head2 is_connected, disconnect_reason, response_started, response_complete

C<disconnect_reason> is undef while the request runs and after it was completed.

=cut

sub is_connected      { return $_[0]{ended} ? 0 : 1 }
sub disconnect_reason { return $_[0]{reason} }
sub response_started  { return $_[0]{started} ? 1 : 0 }
sub response_complete { return $_[0]{ended} && !defined $_[0]{reason} ? 1 : 0 }

=head2 on_disconnect($code), on_complete($code)

=cut

sub on_disconnect {
    my ($self, $code) = @_;
    if    (defined $self->{reason}) { call($code, $self->{reason}) }
    elsif (!$self->{ended})         { push @{ $self->{calls} }, [disconnect => $code] }
    return $self;
}

sub on_complete {
    my ($self, $code) = @_;
    if    (!$self->{ended})          { push @{ $self->{calls} }, [complete => $code] }
    elsif (!defined $self->{reason}) { call($code) }
    return $self;
}

=head2 disconnect_future

A Future that gets the reason of a disconnect. Each call returns another one, so that one which is
cancelled takes no other one with it.

=cut

sub disconnect_future {
    my ($self) = @_;
    $self->{future} ||= defined $self->{reason} ? Future->done($self->{reason}) : $self->{loop}->new_future;
    return $self->{future}->without_cancel;
}

# complete and disconnect are called by the runtime.
sub complete {
    my ($self) = @_;
    return if $self->{ended}++;
    $self->finish('complete') if $self->{calls};
    return;
}

sub disconnect {
    my ($self, $reason) = @_;
    return if $self->{ended}++;
    $self->{reason} = $reason;
    if (my $future = $self->{future}) {
        warn_of($@) if !eval { $future->done($reason); 1 };
    }
    $self->finish('disconnect', $reason);
    return;
}

sub finish {
    my ($self, $kind, @args) = @_;
    my $calls = delete $self->{calls} or return;
    for my $each (@$calls) { call($each->[1], @args) if $each->[0] eq $kind }
    return;
}

sub call {
    my ($code, @args) = @_;
    warn_of($@) if !eval { $code->(@args); 1 };
    return;
}

sub warn_of {
    my ($error) = @_;
    warn "pagi.connection: a callback has failed: $error";
    return;
}

1;
