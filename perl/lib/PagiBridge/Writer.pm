package PagiBridge::Writer;

use strict;
use warnings;

use PagiBridge::Wire qw(BODY);

=head1 NAME

PagiBridge::Writer - the writer object of a streaming PSGI response

=head1 SYNOPSIS

    return sub {
        my ($responder) = @_;
        my $writer = $responder->([200, ['Content-Type' => 'text/plain']]);
        $writer->write("tick\n");
        $writer->close;
    };

=head1 DESCRIPTION

Each C<write> goes to the client at once. So does the end of the answer at C<close>, whatever
the application does after it. When the client has gone, C<write> throws a
L</PagiBridge::ClientGone> object, so that an endless stream ends. An application that catches
it should stop writing. When the application returns without closing the writer, the gateway
cuts the connection, so that the client can tell that the answer is not complete.

=cut

sub new {
    my ($class, $answer) = @_;
    return bless { answer => $answer }, $class;
}

=head1 METHODS

=head2 write($bytes)

=cut

sub write {
    my ($self, $bytes) = @_;
    my $answer = $self->{answer};
    die "write on a closed writer\n" if !$answer || $answer->{ended};
    return if !defined $bytes || !length $bytes;
    utf8::downgrade($bytes, 1)
        or die "wide character in write: PSGI wants bytes; encode the text first (Encode::encode_utf8)\n";
    die bless {}, 'PagiBridge::ClientGone' if $answer->{worker}->client_gone;
    $answer->write($bytes);
    return length $bytes;
}

=head2 close

=cut

sub close {
    my ($self) = @_;
    my $answer = delete $self->{answer} or return;
    $answer->end(BODY, '') if !$answer->{ended};
    return;
}

=head1 PagiBridge::ClientGone

Thrown by C<write> after the client has gone. It stringifies to a sentence.

=cut

package PagiBridge::ClientGone;

use overload '""' => sub {'the client has disconnected'}, fallback => 1;

1;
