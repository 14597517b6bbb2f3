package Deaf;

use strict;
use warnings;

use parent -norequire, 'PagiBridge::Worker';

use PagiBridge::Worker;

# A worker that reads from memory and whose answers go nowhere. It notes the stream and the
# values of each request that it was asked to serve.

# fed takes the pieces in which the bytes of the gateway will come.
sub fed {
    my ($class, @pieces) = @_;
    my $self = $class->new(undef);
    @$self{qw(pieces served)} = (\@pieces, []);
    return $self;
}

sub handle {
    my ($self, undef, $values) = @_;
    push @{ $self->{served} }, "$self->{stream}:$values";
    return;
}

sub fill {
    my ($self) = @_;
    return 0 if !@{ $self->{pieces} };
    ${ $self->{in} } .= shift @{ $self->{pieces} };
    return 1;
}

sub poll      { return }
sub flush     { $_[0]{out} = ''; return }
sub write_now { return }

1;
