package PagiBridge::PSGI::Responder;

use strict;
use warnings;

=head1 NAME

PagiBridge::PSGI::Responder, PagiBridge::PSGI::Writer - how a PSGI application answers later

=head1 SYNOPSIS

    return sub {
        my ($respond) = @_;
        $timer = AE::timer 1, 0, sub {
            my $writer = $respond->([200, ['Content-Type' => 'text/plain']]);
            $writer->poll_cb(sub { $_[0]->write($next->() // return $_[0]->close) });
        };
    };

=head1 DESCRIPTION

Code that holds one of them can still answer. When the last reference to one goes, the exchange is told.

=cut

sub new {
    my ($class, $exchange) = @_;
    return bless { exchange => $exchange }, $class;
}

sub respond {
    my ($self, $response) = @_;
    my $exchange = delete $self->{exchange} or die "the responder was called twice\n";
    return $exchange->respond($response);
}

sub DESTROY {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    my $exchange = delete $self->{exchange} or return;
    local $@;
    $exchange->dropped;
    return;
}

package PagiBridge::PSGI::Writer;

use strict;
use warnings;

=head1 METHODS OF THE WRITER

=cut

sub new {
    my ($class, $exchange) = @_;
    return bless { exchange => $exchange, poll => undef, armed => 0 }, $class;
}

=head2 write($bytes)

Sends bytes and returns their number. It never waits: what the client does not take is kept, up to the worker's limit; beyond it
the answer is cut. After the client has left, C<write> does nothing and returns 0.

=cut

sub write {
    my ($self, $bytes) = @_;
    my $exchange = $self->{exchange} or die "write on a closed writer\n";
    return 0 if $exchange->{over};
    return 0 if !defined $bytes || !length $bytes;
    utf8::downgrade($bytes, 1)
        or die "wide character in write: PSGI wants bytes; encode the text first (Encode::encode_utf8)\n";
    my $most = $exchange->{server}{buffered};
    if ($exchange->buffered > $most) {
        $exchange->fail("the application has written more than max_buffered, $most bytes, which the client has not taken;"
            . ' poll_cb tells when to write');
        return 0;
    }
    $exchange->piece($bytes);
    $self->arm if $self->{poll};
    return length $bytes;
}

=head2 close

Ends the answer.

=cut

sub close {
    my ($self) = @_;
    my $exchange = delete $self->{exchange} or return;
    delete $exchange->{writer};
    delete $self->{poll};
    $exchange->last_piece('') if !$exchange->{over};
    return;
}

=head2 poll_cb($code), response_guard($object)

As those of Twiggy and Feersum. The code is called with the writer when the client has taken what was written, at first at
once, and then after each time something was written; undef takes it back. The object is dropped when the answer ends.

=cut

sub poll_cb {
    my ($self, $code) = @_;
    my $exchange = $self->{exchange} or return;
    return if $exchange->{over};
    $self->{poll} = $code;
    if ($code) {
        $exchange->{writer} = $self;    # the application need not hold it
        $self->arm;
    }
    else { delete $exchange->{writer} }
    return;
}

sub response_guard {
    my ($self, $object) = @_;
    my $exchange = $self->{exchange} or return;
    $exchange->{guard} = $object if !$exchange->{over};
    return;
}

# arm has the code called when all was sent.
sub arm {
    my ($self) = @_;
    return if $self->{armed}++;
    my $exchange = $self->{exchange};
    my $loop     = $exchange->{server}{loop};
    $exchange->after($exchange->{sent}, sub { $loop->later(sub { $self->fire }) });
    return;
}

sub fire {
    my ($self) = @_;
    my ($exchange, $code) = @$self{qw(exchange poll)};
    $self->{armed} = 0;
    return if !$exchange || $exchange->{over} || !$code;
    return if eval { $code->($self); 1 };
    $exchange->died($@);
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    my $exchange = delete $self->{exchange} or return;
    local $@;
    $exchange->fail('the application did not close its writer') if !$exchange->{over};
    return;
}

1;
