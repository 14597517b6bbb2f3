package PagiBridge::PAGI::Transport;

use strict;
use warnings;

use Scalar::Util qw(weaken);

=head1 NAME

PagiBridge::PAGI::Transport - pagi.transport: how much of what was sent the client has not taken

=head1 SYNOPSIS

    my $transport = $scope->{'pagi.transport'};
    skip() if $transport->buffered_amount > $transport->high_water_mark / 2;
    $transport->on_high_water(sub { $source->pause });
    $transport->on_drain(sub { $source->resume });

=head1 DESCRIPTION

Amounts are in bytes. What was sent counts until the gateway has passed it to the client's connection. An
exception in a callback becomes a warning.

=head1 METHODS

=cut

sub new {
    my ($class, $stream) = @_;
    my $self = bless { stream => $stream }, $class;    # there is one for each stream, so it is small
    weaken($self->{stream});
    return $self;
}

# marks are the same for all streams: marks(window) returns the high and the low one, and sets them.
my ($high, $low);

sub marks {
    my ($window) = @_;
    ($high, $low) = ($window - 1024, int($window / 4)) if $window;
    return ($high, $low);
}

=head2 buffered_amount, high_water_mark, low_water_mark

At the high mark C<send> waits.

=cut

sub buffered_amount { return $_[0]{stream} ? $_[0]{stream}->buffered : 0 }
sub high_water_mark { return $high }
sub low_water_mark  { return $low }

=head2 on_high_water($code), on_drain($code)

Call the code when the amount reaches the high mark, and when it then falls below the low one. They return
the object.

=cut

sub on_high_water {
    my ($self, $code) = @_;
    push @{ $self->{on_high} }, $code;
    $self->watch;
    if ($self->{is_high}) { call($code) }
    else                  { $self->look }
    return $self;
}

sub on_drain {
    my ($self, $code) = @_;
    push @{ $self->{on_drain} }, $code;
    $self->watch;
    return $self;
}

# watch has the runtime know that there is a callback.
sub watch {
    my ($self) = @_;
    $self->{stream}{watcher} = $self if $self->{stream};
    return;
}

# look is called by the runtime when the amount has changed.
sub look {
    my ($self) = @_;
    my $amount = $self->buffered_amount;
    if (!$self->{is_high} && $amount >= $high) {
        $self->{is_high} = 1;
        call($_) for @{ $self->{on_high} || [] };
    }
    elsif ($self->{is_high} && $amount <= $low) {
        $self->{is_high} = 0;
        call($_) for @{ $self->{on_drain} || [] };
    }
    return;
}

sub call {
    my ($code) = @_;
    return if eval { $code->(); 1 };
    warn "pagi.transport: a callback has failed: $@";
    return;
}

1;
