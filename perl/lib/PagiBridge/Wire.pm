package PagiBridge::Wire;

use strict;
use warnings;

use Exporter 'import';

=head1 NAME

PagiBridge::Wire - the frame protocol between the gateway and a worker

=head1 SYNOPSIS

    use PagiBridge::Wire qw(:frames frame parse_frames unpack_pairs);

    syswrite $socket, frame(READY, 0, 0, '');

    sysread $socket, $buffer, 65536, length $buffer;
    for my $frame (parse_frames(\$buffer)) {
        my ($stream, $type, $flags) = unpack 'x4 N C C', $frame;
        ...
    }

=head1 DESCRIPTION

The Perl half of F<bridge/wire/PROTOCOL.md>, which defines every number in this module.

=cut

use constant {
    VERSION     => 3,
    HEADER_SIZE => 10,
    MAX_PAYLOAD => 16 * 1024 * 1024,
    CHUNK       => 64 * 1024,           # the most body in a frame
    MAX_HEAD    => 256 * 1024,          # the largest status and headers
    MAX_MESSAGE => 64 * 1024,           # the longest message or text

    # gateway to worker
    REQUEST    => 0x01,
    CANCEL     => 0x02,
    DRAIN      => 0x03,
    FORK       => 0x04,
    NAMES      => 0x05,
    SCOPE      => 0x06,
    DISCONNECT => 0x07,
    REPLY      => 0x08,

    # worker to gateway
    HELLO         => 0x10,
    READY         => 0x11,
    FAILED        => 0x12,
    RESPONSE      => 0x13,
    BODY          => 0x14,
    FILE          => 0x15,
    INFORMATIONAL => 0x16,
    ABORT         => 0x17,
    LOG           => 0x18,
    IDLE          => 0x19,
    EXITING       => 0x1a,
    FORKED        => 0x1b,
    LOADED        => 0x1c,
    EXITED        => 0x1d,
    SCOPE_END     => 0x1e,    # END is a word of perl
    CALL          => 0x1f,
    COUNT         => 0x26,

    # either way
    WELCOME => 0x20,
    REFUSED => 0x21,
    PING    => 0x22,
    PONG    => 0x23,
    CREDIT  => 0x24,
    EVENT   => 0x25,

    # flags
    FIN       => 0x01,
    BUSY      => 0x02,
    BODY_FILE => 0x04,
    DESCRIPTOR => 0x08,
    PART      => 0x10,

    # kinds of ABORT
    ABORT_DIED    => 1,
    ABORT_INVALID => 2,
    ABORT_CUT     => 3,

    # levels of LOG
    LOG_ERROR => 1,
    LOG_WARN  => 2,
    LOG_INFO  => 3,
    LOG_DEBUG => 4,
};

our @FRAMES = qw(
    VERSION HEADER_SIZE MAX_PAYLOAD CHUNK MAX_HEAD MAX_MESSAGE
    REQUEST CANCEL DRAIN FORK NAMES
    HELLO READY FAILED RESPONSE BODY FILE INFORMATIONAL ABORT LOG IDLE EXITING
    FORKED LOADED EXITED
    SCOPE DISCONNECT REPLY SCOPE_END CALL COUNT WELCOME REFUSED PING PONG CREDIT EVENT
    FIN BUSY BODY_FILE DESCRIPTOR PART
    ABORT_DIED ABORT_INVALID ABORT_CUT
    LOG_ERROR LOG_WARN LOG_INFO LOG_DEBUG
);
our @EXPORT_OK   = (@FRAMES, qw(check_length frame parse_frames pack_pairs unpack_pairs unpack_strings));
our %EXPORT_TAGS = (frames => \@FRAMES);

=head1 FUNCTIONS

=head2 frame($type, $flags, $stream, $payload)

Returns one frame. The payload must be bytes.

=cut

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    return pack('N N C C', length $payload, $stream, $type, $flags) . $payload;
}

=head2 parse_frames(\$buffer)

Takes all complete frames off the front of the buffer and returns them, headers
included. Dies on a frame that claims to be longer than C<MAX_PAYLOAD>.

=cut

sub parse_frames {
    my ($buffer) = @_;
    my @frames;
    while (length $$buffer >= HEADER_SIZE) {
        my $length = unpack 'N', $$buffer;
        check_length($length);
        last if length $$buffer < HEADER_SIZE + $length;
        push @frames, substr $$buffer, 0, HEADER_SIZE + $length, '';
    }
    return @frames;
}

=head2 check_length($length)

Dies when a payload claims to be longer than C<MAX_PAYLOAD>.

=cut

sub check_length {
    die "wire: a frame of $_[0] bytes is over the limit of ${\MAX_PAYLOAD}\n" if $_[0] > MAX_PAYLOAD;
    return;
}

=head2 pack_pairs(@list)

Returns a list of pairs as the wire carries it: their number, then each string
behind its length.

=cut

sub pack_pairs { return pack 'N (N/a*)*', @_ / 2, @_ }

=head2 unpack_pairs($bytes)

Returns the list of names and values that C<pack_pairs> has packed. The last element is the
bytes that follow the list. Dies when the lengths do not add up; C<unpack> alone would trust
them.

=cut

sub unpack_pairs {
    my ($bytes) = @_;
    my $end = length $bytes;
    my $strings = $end < 4 ? $end : 2 * unpack 'N', $bytes;
    die "wire: pairs that do not add up\n" if 4 + 4 * $strings > $end;
    my $at   = 4;
    my @list = map { next_string($bytes, $at) } 1 .. $strings;
    return (@list, substr $bytes, $at);
}

=head2 unpack_strings($bytes, $at)

Returns the strings from a position on, each of which stands behind its length. Dies when the
lengths do not add up.

=cut

sub unpack_strings {
    my ($bytes, $at) = @_;
    my @list;
    push @list, next_string($bytes, $at) while $at < length $bytes;
    return @list;
}

# next_string returns the string at a position, and moves the position behind it.
sub next_string {
    my $from = $_[1] + 4;
    die "wire: strings that do not add up\n" if $from > length $_[0];
    $_[1] = $from + unpack 'N', substr $_[0], $_[1], 4;
    die "wire: strings that do not add up\n" if $_[1] > length $_[0];
    return substr $_[0], $from, $_[1] - $from;
}

1;
