package PagiBridge::PAGI::Quick;

use strict;
use warnings;
no warnings 'uninitialized';    # what is missing is left to others

use Exporter 'import';

use PagiBridge::PAGI::Rules ();

our @EXPORT_OK = qw(quick_start quick_body quick_message);

=head1 NAME

PagiBridge::PAGI::Quick - the events that applications send most, checked and packed in one step

=head1 SYNOPSIS

    my $payload = quick_start($event);
    $payload = start_payload(...) if !defined $payload;    # after PagiBridge::PAGI::Rules::check

=head1 DESCRIPTION

A response is mostly an C<http.response.start> and a short body, and a message of a WebSocket is mostly short. These functions return the payload of such an event, as
L<PagiBridge::Event> makes it, if L<PagiBridge::PAGI::Rules> has nothing against it. For any other event, a wrong one among
them, they return nothing.

Headers are mostly those of the response before. So the bytes of a header are kept, by its name and value.

=cut

use constant {
    PIECE => 16384 - 8,    # the most body in an event that is one frame
    KEPT  => 500,          # headers that are kept, before all are forgotten
    SHORT => 200,          # bytes that a kept header has at most
};

# The bytes before the headers, before a body and before a message; see payload_of in PagiBridge::Event.
my %start;
my ($last, $more)   = map { pack 'C C x6', 0x12, $_ } 0, 1;
my ($text, $binary) = map { pack 'C C x6', 0x21, $_ } 0, 2;

my %kept;    # by "name\0value"; no name has a NUL

=head1 FUNCTIONS

=head2 quick_start($event), quick_body($event), quick_message($event)

Take a reference to a hash.

=cut

sub quick_start {
    my ($event) = @_;
    my ($status, $headers) = @$event{qw(status headers)};
    return if $event->{type} ne 'http.response.start' || $event->{trailers} || ref $headers ne 'ARRAY';
    my $payload = ($start{$status} || start($status) || return) . pack 'N', scalar @$headers;
    for my $pair (@$headers) {
        return if ref $pair ne 'ARRAY' || @$pair != 2 || !defined $pair->[1] || ref $pair->[0] || ref $pair->[1];
        $payload .= $kept{"$pair->[0]\0$pair->[1]"} || header(@$pair) || return;
    }
    return length $payload <= PIECE ? $payload : ();
}

sub start {
    my ($status) = @_;
    return if $status !~ /\A[2-9][0-9]{2}\z/;
    return $start{$status} = pack 'C C n', 0x11, 0, $status;
}

sub header {
    my ($name, $value) = @_;
    return if !defined $name || utf8::is_utf8($name) || utf8::is_utf8($value);
    return if !PagiBridge::PAGI::Rules::is_token($name) || !PagiBridge::PAGI::Rules::is_field_value($value);
    my $bytes = pack 'N/a* N/a*', lc $name, $value;
    if (length $bytes <= SHORT) {
        %kept = () if keys %kept >= KEPT;
        $kept{"$name\0$value"} = $bytes;
    }
    return $bytes;
}

sub quick_body {
    my ($event) = @_;
    my $body = $event->{body};
    return if $event->{type} ne 'http.response.body' || !defined $body || ref $body || utf8::is_utf8($body) || length $body > PIECE
        || defined $event->{file} || defined $event->{fh};
    return ($event->{more} ? $more : $last) . $body;
}

sub quick_message {
    my ($event) = @_;
    my ($message, $bytes) = @$event{qw(text bytes)};
    return if $event->{type} ne 'websocket.send' || defined $message && defined $bytes;
    my $is_text = defined $message;
    $message = $bytes if !$is_text;
    return if !defined $message || ref $message || utf8::is_utf8($message) || length $message > PIECE;
    return if $is_text && $message =~ tr/\x80-\xff//;    # it is encoded, or it is not
    return ($is_text ? $text : $binary) . $message;
}

1;
