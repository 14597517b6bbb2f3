package Deaf;

use strict;
use warnings;

use parent -norequire, 'PagiBridge::Worker';

use PagiBridge::Worker;

# A worker that is fed from memory, whose answers go nowhere, and which notes what it
# was asked to serve: the stream and the values of each request.

# fed is given the pieces the gateway's bytes will come in.
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
