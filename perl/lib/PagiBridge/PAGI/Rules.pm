package PagiBridge::PAGI::Rules;

use strict;
use warnings;

=head1 NAME

PagiBridge::PAGI::Rules - which events an application may send, and when

=head1 SYNOPSIS

    my $stage = PagiBridge::PAGI::Rules::BEGIN_STAGE;
    my ($next, $problem, $is_late) = PagiBridge::PAGI::Rules::check('http', $stage, $event);

=head1 DESCRIPTION

The specification's rules for events that are sent: the same as those of the Go package F<pagi>
(F<order.go>, F<validate.go>), so that a mistake becomes an exception where the application has made
it. Nothing here knows the wire.

=cut

use constant {
    BEGIN_STAGE => 'begin',
    OPEN        => 'open',
    ANNOUNCED   => 'announced',          # http: open, and trailers will follow the body
    ENDED       => 'ended',              # http: the body has ended, the trailers have not
    DENIED      => 'denied',             # an ordinary response instead of a stream
    DENIED_END  => 'denied, complete',
    COMPLETE    => 'complete',
};

my $complete      = 'the response is complete';
my $started       = 'the response was started already';
my $sse_started   = 'the event stream was started already';
my $sse_denied    = 'the request was answered with sse.http.response.start';
my $sse_closed    = 'the event stream is closed';
my $not_declined  = 'the event stream has begun, the request can no longer be declined';
my $accepted      = 'the connection was accepted already';
my $answered      = 'the handshake was answered already';
my $refused       = 'the handshake was refused, only websocket.http.response.body may follow';
my $start_first   = 'http.response.start must come first';
my $accept_first  = 'websocket.accept must come first';
my $body_ended    = 'the body is complete, only http.response.trailers may follow';
my $startup_told  = 'startup was answered already';
my $shutdown_told = 'shutdown was answered already';

# These events come too late or twice: what they say has been said. They can be dropped.
my %is_late = map { $_ => 1 } $complete, $started, $sse_started, "$sse_denied already", $accepted, $answered, $body_ended,
    $startup_told, $shutdown_told;

# An event has a scope type, a reason why it must not come for each stage where it must not ('*' is
# for the stages that are not listed), a check of its fields, and the stage behind it.
my %events = (
    'http.response.informational' => {
        scope => 'http', not => { BEGIN_STAGE, '', COMPLETE, $complete, '*' => 'must come before http.response.start' },
        check => sub { status($_[0], 102, 199); headers($_[0]) }, next => sub { $_[1] },
    },
    'http.response.start' => {
        scope => 'http', not => { BEGIN_STAGE, '', '*' => $started },
        check => \&start, next => sub { $_[0]{trailers} ? ANNOUNCED : OPEN },
    },
    'http.response.body' => {
        scope => 'http', not => { OPEN, '', ANNOUNCED, '', ENDED, $body_ended, COMPLETE, $complete, '*' => $start_first },
        check => \&body, next => \&after_body,
    },
    'http.response.trailers' => {
        scope => 'http',
        not => { ENDED, '', ANNOUNCED, 'the body is not complete', COMPLETE, $complete, '*' => 'http.response.start did not announce trailers' },
        check => \&headers, next => sub { COMPLETE },
    },
    'http.fullflush' => { scope => '', not => { '*' => '' }, check => sub { }, next => sub { $_[1] } },

    'sse.start' => {
        scope => 'sse', not => { BEGIN_STAGE, '', DENIED, "$sse_denied already", DENIED_END, "$sse_denied already", '*' => $sse_started },
        check => sub { status($_[0], 200, 999) if defined $_[0]{status}; headers($_[0]) }, next => sub { OPEN },
    },
    'sse.send' => {
        scope => 'sse',
        not => { OPEN, '', BEGIN_STAGE, 'sse.start must come first', DENIED, $sse_denied, DENIED_END, $sse_denied, '*' => $sse_closed },
        check => \&sse, next => sub { $_[1] },
    },
    'sse.comment'   => { scope => 'sse', not => early(), check => \&comment, next => sub { $_[1] } },
    'sse.keepalive' => {
        scope => 'sse', not => early(),
        check => sub { seconds($_[0], 'interval'); strings($_[0], 'comment') }, next => sub { $_[1] },
    },
    'sse.close' => {
        scope => 'sse', not => { OPEN, '', COMPLETE, '', BEGIN_STAGE, 'sse.start must come first', '*' => $sse_denied },
        check => sub { strings($_[0], 'reason') }, next => sub { COMPLETE },
    },
    'sse.http.response.start' => {
        scope => 'sse', not => { BEGIN_STAGE, '', DENIED, "$sse_denied already", DENIED_END, "$sse_denied already", '*' => $not_declined },
        check => \&start, next => sub { DENIED },
    },
    'sse.http.response.body' => {
        scope => 'sse', not => { DENIED, '', DENIED_END, $complete, '*' => 'sse.http.response.start must come first, and instead of sse.start' },
        check => sub { strings($_[0], 'body') }, next => \&after_denial,
    },

    'websocket.accept' => {
        scope => 'websocket', not => { BEGIN_STAGE, '', COMPLETE, '', OPEN, $accepted, '*' => $refused },
        check => sub { headers($_[0]); strings($_[0], 'subprotocol') }, next => sub { OPEN },
    },
    'websocket.send' => { scope => 'websocket', not => speaking(), check => \&message, next => sub { $_[1] } },
    'websocket.keepalive' => {
        scope => 'websocket', not => speaking(),
        check => sub { seconds($_[0], 'interval'); seconds($_[0], 'timeout') }, next => sub { $_[1] },
    },
    'websocket.close' => {
        scope => 'websocket', not => { DENIED, $refused, DENIED_END, $refused, '*' => '' },
        check => \&close_frame, next => sub { COMPLETE },
    },
    'websocket.http.response.start' => {
        scope => 'websocket', not => { DENIED, $answered, DENIED_END, $answered, '*' => '' },
        check => \&start, next => sub { DENIED },
    },
    'websocket.http.response.body' => {
        scope => 'websocket', not => { BEGIN_STAGE, 'websocket.http.response.start must come first', DENIED_END, $complete, '*' => '' },
        check => sub { strings($_[0], 'body') }, next => \&after_denial,
    },

    'lifespan.startup.complete'  => { scope => 'lifespan', not => { BEGIN_STAGE, '', '*' => $startup_told }, check => sub { }, next => sub { OPEN } },
    'lifespan.startup.failed'    => {
        scope => 'lifespan', not => { BEGIN_STAGE, '', '*' => $startup_told },
        check => sub { strings($_[0], 'message') }, next => sub { OPEN },
    },
    'lifespan.shutdown.complete' => { scope => 'lifespan', not => { COMPLETE, $shutdown_told, '*' => '' }, check => sub { }, next => sub { COMPLETE } },
    'lifespan.shutdown.failed'   => {
        scope => 'lifespan', not => { COMPLETE, $shutdown_told, '*' => '' },
        check => sub { strings($_[0], 'message') }, next => sub { COMPLETE },
    },
);

sub early { return { BEGIN_STAGE, '', OPEN, '', COMPLETE, $sse_closed, '*' => $sse_denied } }

sub speaking { return { BEGIN_STAGE, $accept_first, DENIED, $refused, DENIED_END, $refused, '*' => '' } }

=head1 FUNCTIONS

=head2 check($scope_type, $stage, $event)

Returns the stage behind the event, and with an event that must not come at this stage a sentence about
that and whether the event comes too late or twice. Dies with a sentence when the event itself is wrong.

=cut

sub check {
    my ($scope_type, $stage, $event) = @_;
    die "an event must be a hash reference\n" if ref $event ne 'HASH' && !(ref $event && eval { \%$event });
    my $type = $event->{type};
    die "an event must have a type\n" if !defined $type;
    my $rule = $events{$type} or die "$type is no event that an application can send\n";
    die "$type is no event of a scope of type $scope_type\n"
        if $rule->{scope} ne $scope_type && !($rule->{scope} eq '' && ($scope_type eq 'http' || $scope_type eq 'sse'));
    $rule->{check}->($event);
    my $not = $rule->{not};
    my $problem = exists $not->{$stage} ? $not->{$stage} : $not->{'*'};
    return ($stage, "$type: $problem", $is_late{$problem}) if $problem ne '';
    return $rule->{next}->($event, $stage);
}

sub after_body {
    my ($event, $stage) = @_;
    return $stage if $event->{more} && !defined $event->{file} && !defined $event->{fh};
    return $stage eq ANNOUNCED ? ENDED : COMPLETE;
}

sub after_denial { return $_[0]{more} ? $_[1] : DENIED_END }

sub wrong {
    my ($event, $field, $problem) = @_;
    die "$event->{type}: '$field' $problem\n";
}

sub start { status($_[0], 200, 999); return headers($_[0]) }

sub status {
    my ($event, $least, $most) = @_;
    my $status = $event->{status};
    wrong($event, 'status', 'is missing') if !defined $status;
    wrong($event, 'status', "must be a number from $least to $most, is '$status'")
        if $status !~ /\A[1-9][0-9]{2}\z/ || $status < $least || $status > $most;
    return;
}

sub headers {
    my ($event) = @_;
    my $headers = $event->{headers};
    return if !defined $headers;
    wrong($event, 'headers', 'must be a list of pairs') if ref $headers ne 'ARRAY';
    for my $pair (@$headers) {
        wrong($event, 'headers', 'must be a list of pairs, each a name and a value') if ref $pair ne 'ARRAY' || @$pair != 2;
        my ($name, $value) = @$pair;
        wrong($event, 'headers', 'has a pair without a name') if !defined $name;
        wrong($event, 'headers', 'has a name that is not a token (RFC 9110 section 5.1)') if !is_token($name);
        wrong($event, 'headers', "has no value for '$name'") if !defined $value;
        wrong($event, 'headers', "has a control character in the value of '$name'") if !is_field_value($value);
    }
    return;
}

=head2 is_token($name), is_field_value($value)

Whether a header may have this name and this value.

=cut

sub is_token       { return $_[0] =~ /\A[!#\$%&'*+\-.^_`|~0-9A-Za-z]+\z/ }
sub is_field_value { return $_[0] !~ /[\x00-\x08\x0a-\x1f\x7f]/ }

sub body {
    my ($event) = @_;
    my @given = grep { defined $event->{$_} } qw(body file fh);
    die "http.response.body: 'body', 'file' and 'fh' exclude one another\n" if @given > 1 && ($given[0] ne 'body' || $event->{body} ne '' || @given > 2);
    strings($event, 'body', 'file');
    wrong($event, 'file', 'must not contain NUL') if defined $event->{file} && $event->{file} =~ /\0/;
    for my $name (qw(offset length)) {
        next if !defined $event->{$name};
        wrong($event, $name, "must be a whole number, is '$event->{$name}'") if $event->{$name} !~ /\A[0-9]{1,18}\z/;
    }
    return;
}

sub message {
    my ($event) = @_;
    strings($event, 'text', 'bytes');
    my $given = grep { defined $event->{$_} } qw(text bytes);
    die "websocket.send: one of 'text' and 'bytes' must be given\n" if !$given;
    die "websocket.send: 'text' and 'bytes' exclude one another\n" if $given > 1;
    return;
}

sub sse {
    my ($event) = @_;
    wrong($event, 'data', 'is missing') if !defined $event->{data};
    strings($event, qw(event data id));
    wrong($event, 'event', 'must not contain a newline') if defined $event->{event} && $event->{event} =~ /[\r\n]/;
    wrong($event, 'id', 'must not contain a newline or NUL') if defined $event->{id} && $event->{id} =~ /[\r\n\0]/;
    wrong($event, 'retry', "must be a whole number of milliseconds, is '$event->{retry}'")
        if defined $event->{retry} && $event->{retry} !~ /\A[0-9]{1,15}\z/;
    return;
}

sub comment {
    my ($event) = @_;
    wrong($event, 'comment', 'is missing') if !defined $event->{comment};
    return strings($event, 'comment');
}

sub close_frame {
    my ($event) = @_;
    strings($event, 'reason');
    my $code = $event->{code};
    return if !defined $code;
    wrong($event, 'code', "must be a close code that an endpoint may send (RFC 6455 section 7.4), is '$code'")
        if $code !~ /\A[0-9]{4}\z/ || !($code >= 1000 && $code <= 1003 || $code >= 1007 && $code <= 1014 || $code >= 3000 && $code <= 4999);
    return;
}

sub seconds {
    my ($event, $name) = @_;
    my $value = $event->{$name};
    return if !defined $value;
    wrong($event, $name, "must be a number of seconds, is '$value'") if $value !~ /\A(?:[0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]+)(?:e-?[0-9]{1,2})?\z/i;
    return;
}

# strings checks that fields are no references. An object is taken for its text.
sub strings {
    my ($event, @names) = @_;
    for my $name (@names) {
        my $ref = ref $event->{$name} or next;
        wrong($event, $name, "must be a string, is a reference to $ref") if $ref =~ /\A(?:ARRAY|HASH|CODE|SCALAR|REF|GLOB)\z/;
    }
    return;
}

1;
