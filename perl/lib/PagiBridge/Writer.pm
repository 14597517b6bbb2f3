package PagiBridge::Writer;

use strict;
use warnings;

use PagiBridge::Wire qw(BODY frame);

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

Each C<write> goes to the client at once. When the client has gone, C<write>
throws a L</PagiBridge::ClientGone> object, so that an endless stream ends; an
application that catches it should stop writing. A writer that is not closed when
the application returns cuts the connection, so that the client can tell the answer is not
complete.

=cut

use constant CHUNK => 64 * 1024;

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
    die "write on a closed writer\n" if !$answer || $answer->{finished};
    return if !defined $bytes || !length $bytes;
    utf8::downgrade($bytes, 1)
        or die "wide character in write: PSGI wants bytes; encode the text first (Encode::encode_utf8)\n";
    my $worker = $answer->{worker};
    die bless {}, 'PagiBridge::ClientGone' if $worker->client_gone;
    for (my $offset = 0; $offset < length $bytes; $offset += CHUNK) {
        $worker->write_now(frame(BODY, 0, $answer->{stream}, substr $bytes, $offset, CHUNK));
    }
    return length $bytes;
}

=head2 close

=cut

sub close {
    my ($self) = @_;
    my $answer = delete $self->{answer} or return;
    return if $answer->{finished};
    $answer->{writing} = 0;
    $answer->{last} = [BODY, ''];
    return;
}

=head1 PagiBridge::ClientGone

Thrown by C<write> after the client has gone. It stringifies to a sentence.

=cut

package PagiBridge::ClientGone;

use overload '""' => sub {'the client has disconnected'}, fallback => 1;

1;
