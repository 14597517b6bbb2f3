package PagiBridge::PSGI::Reader;

use strict;
use warnings;

use PagiBridge::Event qw(event_of);
use PagiBridge::PAGI::Call ();

=head1 NAME

PagiBridge::PSGI::Reader - takes in a request before the application is called

=head1 SYNOPSIS

    PagiBridge::PSGI::Reader->new($server, $stream, $scope, $link);

=head1 DESCRIPTION

Handles the events of a stream up to the last one of the request, and then has a L<PagiBridge::PAGI::Call> go on. The scope has
C<input> then, an open handle with the body, and C<length>. A body of up to 64 KiB is kept in memory, a longer one in a
temporary file without a name.

=head1 METHODS

=head2 new($server, $stream, $scope, $link)

=cut

use constant {
    MEMORY => 65536,
    DIED   => 1,
};

sub new {
    my ($class, $server, $stream, $scope, $link) = @_;
    my $self = bless { server => $server, link => $link, stream => $stream, scope => $scope, body => '', size => 0, file => undef }, $class;
    $stream->handle_by($self);
    return $self;
}

# event is called when an event has come.
sub event {
    my ($self, $payload, $cost) = @_;
    my $stream = $self->{stream};
    my $event  = event_of($payload);
    $stream->taken($cost);
    if (defined $event->{body} && length $event->{body} && !eval { $self->keep($event->{body}); 1 }) { return $self->fail($@) }
    if ($event->{more}) {
        $self->{link}->touch;
        return;
    }
    my $scope = $self->{scope};
    $scope->{length} = $self->{size};
    $scope->{input}  = $self->{file};
    if ($self->{file}) { seek $self->{file}, 0, 0 or return $self->fail("cannot read the request body: $!") }
    else {
        open $scope->{input}, '<', \$self->{body} or return $self->fail("cannot read the request body: $!");
    }
    PagiBridge::PAGI::Call->new($self->{server}, $stream, $scope, $self->{link})->run($self->{server}{app});
    return;
}

sub keep {
    my ($self, $bytes) = @_;
    $self->{size} += length $bytes;
    if (!$self->{file} && $self->{size} > MEMORY) {
        open $self->{file}, '+>:raw', undef or die "cannot keep the request body in a file: $!\n";
        $bytes = (delete $self->{body}) . $bytes;
    }
    if ($self->{file}) { print { $self->{file} } $bytes or die "cannot write the request body to a file: $!\n" }
    else               { $self->{body} .= $bytes }
    return;
}

sub fail {
    my ($self, $message) = @_;
    $message =~ s/\s+\z//;
    $self->{stream}->end(DIED, $message);
    $self->{server}->ended($self);
    return;
}

# disconnect is called when the client has left, and credit when the gateway has granted some.
sub disconnect {
    my ($self) = @_;
    $self->{stream}->end(0);
    $self->{server}->ended($self);
    return;
}

sub credit { return }

1;
