package PagiBridge::Event;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(scope_of event_of payload_of start_payload file_payload disconnect_of);

=head1 NAME

PagiBridge::Event - scopes and events of PAGI, as the wire carries them

=head1 SYNOPSIS

    use PagiBridge::Event qw(scope_of event_of payload_of disconnect_of);

    my $scope   = scope_of($payload_of_a_SCOPE_frame);
    my $event   = event_of($payload_of_an_event);           # { type => 'http.request', ... }
    my $payload = payload_of({ type => 'http.response.start', status => 200, headers => [] });

=head1 DESCRIPTION

Translates between the hashes of the specification and section 5 of
F<bridge/wire/PROTOCOL.md>. A payload that does not add up, and an event that has no form on the
wire, is an exception.

=cut

use constant {
    MORE     => 0x01,
    BINARY   => 0x02,
    TRAILERS => 0x04,
};

my @scope_types = (undef, 'http', 'websocket', 'sse', 'lifespan');

=head1 FUNCTIONS

=head2 scope_of($payload, \%pagi)

C<%pagi> is what the scope has as C<pagi>, by default the versions of the specification.

Returns the hash of a scope. Path, query and headers are bytes, except that a path which is valid
UTF-8 is decoded, as the specification asks for. C<raw_path> and the like are missing where they
are not known.

=cut

# The first eight values of a scope on the wire.
my @names = qw(http_version method scheme path raw_path target query_string root_path);

# What stands behind the headers, by its bytes: the names of extensions without data. It is the same for nearly all
# scopes.
my %usual;

sub scope_of {
    my ($payload, $pagi) = @_;
    $pagi ||= { version => '0.3', spec_version => '0.3' };
    my $type = $scope_types[ length $payload ? ord $payload : 0 ] or die "wire: a scope of an unknown type\n";
    my (%scope, @peers, @headers, @protocols, @extensions);
    # Nearly every scope has 13 values and a usual end. Then one unpack reads it, right to where the values belong. Where a string
    # goes beyond the end it takes the rest, and what follows it is missing.
    no warnings 'numeric';
    (@scope{@names}, @peers[ 0 .. 4 ], @headers) = eval { unpack 'x5 (N/a*)13 N/(N/a*N/a*) a*', $payload } if substr($payload, 1, 4) eq "\0\0\0\x0d";
    my $end = pop @headers;
    if (my $found = defined $end && $usual{$end}) {
        $scope{extensions} = { map { $_ => {} } @$found };
    }
    else {
        my $at = 1;
        my @values = take_list($payload, $at, 1);
        @headers = take_list($payload, $at, 2);
        $end = substr $payload, $at;
        @protocols  = take_list($payload, $at, 1);
        @extensions = take_list($payload, $at, 2);
        die "wire: a scope that does not add up\n" if $at != length $payload;
        (@scope{@names}, @peers) = map { defined $_ ? $_ : '' } @values[ 0 .. 11 ];
        $peers[4] = $values[12];
        my %extensions = @extensions;
        $usual{$end} = [sort keys %extensions]
            if !@protocols && !grep({ $_ ne '' } values %extensions) && !exists $extensions{tls} && !exists $extensions{'psgi.environ'} && keys %usual < 16;
        $scope{extensions} = {};
    }
    return worker_scope({ type => $type, pagi => $pagi }, $peers[4]) if $type eq 'lifespan';

    utf8::decode($scope{path});
    utf8::decode($scope{root_path});
    delete $scope{raw_path} if $scope{raw_path} eq '';
    delete $scope{target}   if $scope{target} eq '';
    $scope{type}       = $type;
    $scope{pagi}       = $pagi;
    $scope{headers}    = pairs_of(@headers);
    $scope{client}     = $peers[0] ne '' ? [$peers[0], $peers[1] ne '' ? $peers[1] : undef] : undef;
    $scope{server}     = $peers[2] ne '' ? [$peers[2], $peers[3] ne '' ? $peers[3] : undef] : undef;
    if ($type eq 'websocket') {
        delete $scope{method};
        $scope{subprotocols} = \@protocols;
    }
    while (my ($name, $data) = splice @extensions, 0, 2) {
        $scope{extensions}{$name} = $name eq 'tls' ? tls_of($data) : $name eq 'psgi.environ' ? $data : {};
    }
    return \%scope;
}

sub worker_scope {
    my ($scope, $number) = @_;
    @{ $scope->{pagi} }{qw(is_worker worker_num)} = (1, $number) if defined $number && $number ne '';
    return $scope;
}

sub pairs_of {
    my @list;
    push @list, [shift, shift] while @_;
    return \@list;
}

sub tls_of {
    my ($data) = @_;
    my $at = 0;
    my @pairs = take_list($data, $at, 2);
    my %tls = (client_cert_chain => []);
    while (my ($name, $value) = splice @pairs, 0, 2) {
        if   ($name eq 'client_cert_chain') { push @{ $tls{$name} }, $value }
        else                                { $tls{$name} = $value eq '' ? undef : $value }
    }
    $tls{tls_version} = delete $tls{version};
    return \%tls;
}

# take_list takes a list off a payload, and moves the position behind it. Each of its entries is so
# many strings.
sub take_list {
    die "wire: a list that does not add up\n" if length $_[0] < ($_[1] += 4);
    my $count = $_[2] * unpack 'N', substr $_[0], $_[1] - 4, 4;
    return if !$count;
    die "wire: a list that does not add up\n" if $count * 4 > length($_[0]) - $_[1];
    # unpack gives what is there where a length goes beyond the end, or dies.
    my @list = eval { unpack "x$_[1] (N/a*)$count", $_[0] };
    $_[1] += 4 * $count + length join '', @list;
    die "wire: a string that does not add up\n"
        if @list != $count || $_[1] > length $_[0] || unpack('N', substr $_[0], $_[1] - length($list[-1]) - 4, 4) != length $list[-1];
    return @list;
}

=head2 event_of($payload)

Returns the hash of an event from the gateway.

=cut

my %received = (
    0x01 => sub { body_event('http.request', @_) },
    0x02 => sub { { type => 'websocket.connect' } },
    0x03 => \&message_event,
    0x04 => sub { body_event('sse.request', @_) },
    0x05 => sub { { type => 'lifespan.startup' } },
    0x06 => sub { { type => 'lifespan.shutdown' } },
);

sub event_of {
    my ($payload) = @_;
    die "wire: an event that does not add up\n" if length $payload < 8;
    my ($kind, $bits, $count) = unpack 'C C x2 N', $payload;
    my $make = $received{$kind} or die sprintf "wire: an event of kind 0x%02x from the gateway\n", $kind;
    return $make->($bits, [], substr $payload, 8) if !$count;
    my $at = 4;
    my @pairs = take_list($payload, $at, 2);
    return $make->($bits, \@pairs, substr $payload, $at);
}

sub body_event {
    my ($type, $bits, $pairs, $body) = @_;
    my %event = (type => $type, body => $body, more => $bits & MORE ? 1 : 0);
    $event{trailers} = pairs_of(@$pairs) if @$pairs;
    return \%event;
}

sub message_event {
    my ($bits, undef, $message) = @_;
    return { type => 'websocket.receive', bytes => $message } if $bits & BINARY;
    utf8::decode($message);
    return { type => 'websocket.receive', text => $message };
}

=head2 disconnect_of($type, $code, $reason)

Returns the event by which an application learns that a scope of a type has ended. The reason of a WebSocket is
decoded from UTF-8.

=cut

sub disconnect_of {
    my ($type, $code, $reason) = @_;
    if ($type eq 'websocket') {
        utf8::decode($reason) if defined $reason;
        return { type => 'websocket.disconnect', code => $code || 1006, reason => $reason };
    }
    return { type => 'sse.disconnect', reason => $reason } if $type eq 'sse';
    return { type => 'lifespan.shutdown' } if $type eq 'lifespan';
    return { type => 'http.disconnect' };
}

=head2 payload_of($event)

Returns the payload of an event from the application. A body with C<file> or C<fh> has none: the
caller reads it, or sends its descriptor.

=cut

my %sent = (
    'http.response.informational'   => sub { pack_event(0x10, 0, status($_[0]), headers($_[0])) },
    'http.response.start'           => sub { pack_event(0x11, $_[0]{trailers} ? TRAILERS : 0, status($_[0]), headers($_[0])) },
    'http.response.body'            => sub { pack_event(0x12, more($_[0]), 0, [], bytes($_[0], 'body')) },
    'http.response.trailers'        => sub { pack_event(0x14, 0, 0, headers($_[0])) },
    'http.fullflush'                => sub { pack_event(0x15, 0, 0, []) },
    'websocket.accept'              => sub { pack_event(0x20, 0, 0, headers($_[0]), text($_[0], 'subprotocol')) },
    'websocket.send'                => \&pack_message,
    'websocket.keepalive'           => sub { pack_event(0x22, 0, 0, [seconds($_[0], 'interval'), seconds($_[0], 'timeout')]) },
    'websocket.close'               => sub { pack_event(0x23, 0, $_[0]{code} || 0, [], reason($_[0])) },
    'websocket.http.response.start' => sub { pack_event(0x24, 0, status($_[0]), headers($_[0])) },
    'websocket.http.response.body'  => sub { pack_event(0x25, more($_[0]), 0, [], bytes($_[0], 'body')) },
    'sse.start'                     => sub { pack_event(0x30, 0, $_[0]{status} || 0, headers($_[0])) },
    'sse.send'                      => \&pack_sse,
    'sse.comment'                   => sub { pack_event(0x32, 0, 0, [], text($_[0], 'comment')) },
    'sse.keepalive'                 => sub { pack_event(0x33, 0, 0, [seconds($_[0], 'interval')], text($_[0], 'comment')) },
    'sse.close'                     => sub { pack_event(0x34, 0, 0, [], text($_[0], 'reason')) },
    'sse.http.response.start'       => sub { pack_event(0x35, 0, status($_[0]), headers($_[0])) },
    'sse.http.response.body'        => sub { pack_event(0x36, more($_[0]), 0, [], bytes($_[0], 'body')) },
    'lifespan.startup.complete'     => sub { pack_event(0x40, 0, 0, []) },
    'lifespan.startup.failed'       => sub { pack_event(0x41, 0, 0, [], text($_[0], 'message')) },
    'lifespan.shutdown.complete'    => sub { pack_event(0x42, 0, 0, []) },
    'lifespan.shutdown.failed'      => sub { pack_event(0x43, 0, 0, [], text($_[0], 'message')) },
);

sub payload_of {
    my ($event) = @_;
    my $type = ref $event eq 'HASH' && defined $event->{type} ? $event->{type} : '';
    my $pack = $sent{$type} or die $type eq '' ? "an event must be a hash with a type\n" : "$type is no event that an application may send\n";
    return $pack->($event);
}

=head2 start_payload($event)

The payload of an C<http.response.start> whose fields have been checked, quickly.

=cut

sub start_payload {
    my ($event) = @_;
    my $headers = headers($event);
    return pack 'C C n N (N/a*)*', 0x11, $event->{trailers} ? TRAILERS : 0, $event->{status}, @$headers / 2, @$headers;
}

=head2 file_payload($path, $offset, $length, $device, $inode)

Returns the payload of a body that the gateway reads from a file.

=cut

sub file_payload {
    my ($path, $offset, $length, $device, $inode) = @_;
    return pack_event(0x13, 0, 0, [offset => $offset, length => $length, device => $device, inode => $inode], $path);
}

sub pack_event {
    my ($kind, $bits, $number, $pairs, $rest) = @_;
    $rest = '' if !defined $rest;
    return pack 'C C n N a*', $kind, $bits, $number, 0, $rest if !@$pairs;
    return pack 'C C n N (N/a*)' . @$pairs . ' a*', $kind, $bits, $number, @$pairs / 2, @$pairs, $rest;
}

sub pack_message {
    my ($event) = @_;
    return pack_event(0x21, BINARY, 0, [], bytes($event, 'bytes')) if defined $event->{bytes};
    die "websocket.send: one of 'text' and 'bytes' must be given\n" if !defined $event->{text};
    return pack_event(0x21, 0, 0, [], text($event, 'text'));
}

sub pack_sse {
    my ($event) = @_;
    my @pairs = map { $_ => text($event, $_) } grep { defined $event->{$_} } qw(event id);
    push @pairs, retry => int $event->{retry} if defined $event->{retry};
    return pack_event(0x31, 0, 0, \@pairs, text($event, 'data'));
}

sub more { return $_[0]{more} ? MORE : 0 }

sub status {
    my ($event) = @_;
    my $status = $event->{status};
    die "$event->{type}: 'status' must be a number of three digits\n" if !defined $status || $status !~ /\A[1-9][0-9]{2}\z/;
    return $status;
}

# headers returns the names and values of an event's headers, in bytes.
sub headers {
    my ($event) = @_;
    my @list;
    for my $pair (@{ $event->{headers} || [] }) {
        if (ref $pair eq 'ARRAY' && @$pair == 2 && defined $pair->[0] && defined $pair->[1] && !utf8::is_utf8($pair->[0]) && !utf8::is_utf8($pair->[1])) {
            push @list, lc $pair->[0], $pair->[1];
            next;
        }
        die "$event->{type}: each of 'headers' must be a name and a value\n" if ref $pair ne 'ARRAY' || @$pair != 2 || grep { !defined } @$pair;
        push @list, lc in_bytes($pair->[0], $event, 'headers'), in_bytes($pair->[1], $event, 'headers');
    }
    return \@list;
}

# seconds returns a pair with a time in milliseconds.
sub seconds {
    my ($event, $name) = @_;
    return ($name => int 1000 * ($event->{$name} || 0));
}

# reason returns the reason of a Close frame, which has room for 123 bytes (RFC 6455 section 5.5).
sub reason {
    my ($event) = @_;
    my $reason = text($event, 'reason');
    die "websocket.close: 'reason' must be at most 123 bytes of UTF-8\n" if length $reason > 123;
    return $reason;
}

sub bytes {
    my ($event, $name) = @_;
    return '' if !defined $event->{$name};
    return in_bytes($event->{$name}, $event, $name);
}

# in_bytes returns a string in bytes; a character beyond 255 is an exception.
sub in_bytes {
    my ($value, $event, $name) = @_;
    return $value if !utf8::is_utf8($value);
    utf8::downgrade($value, 1) or die "$event->{type}: wide character in '$name', which must be bytes\n";
    return $value;
}

# text returns a text in UTF-8. A string with perl's flag is characters. One without it may be
# encoded already, and then stays as it is; otherwise it is Latin-1.
sub text {
    my ($event, $name) = @_;
    my $value = $event->{$name};
    return '' if !defined $value;
    if (!utf8::is_utf8($value)) {
        my $copy = $value;
        return $value if utf8::decode($copy);
    }
    utf8::encode($value);
    return $value;
}

1;
