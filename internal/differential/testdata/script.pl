use strict;
use warnings;

use Future::AsyncAwait;
use IO::Async::Loop;
use JSON::PP     ();
use MIME::Base64 qw(decode_base64);
use Trace        ();

# Does what the header x-script of a request says, a line after the other:
#
#   receive             receives an event
#   drain               receives until the body has ended
#   until TYPE          receives until an event of this type, or any disconnect
#   send TYPE FIELDS    sends an event with fields in JSON, and waits for it; an exception ends the script
#   try TYPE FIELDS     the same, but an exception does not matter
#   detach TYPE FIELDS  sends without waiting
#   start, body TEXT    http.response.start with status 200, and a body that is complete
#   echo                answers with the body that was received
#   messages            answers each message of a WebSocket with the same message, until the end
#   scope               answers with the scope as JSON
#   abilities           answers with the version, the extensions and the objects of the scope as JSON
#   connection          logs the state of pagi.connection
#   watch               logs what the callbacks of pagi.connection say
#   sleep SECONDS       waits
#   together            receives twice at once
#   die TEXT            is an exception
#
# In fields a string "@NAME:ARGUMENT" stands for a value that JSON does not have: see %special.

my $loop = IO::Async::Loop->new;
my $json = JSON::PP->new->allow_nonref->canonical->ascii;

my %special = (
    x      => sub { 'x' x $_[0] },                          # so many bytes
    hex    => sub { pack 'H*', $_[0] },                     # these bytes
    file   => sub { "$ENV{TRACE}/$_[0]" },                  # a file beside the logs
    fh     => sub { opened("$ENV{TRACE}/$_[0]") },          # an open handle of it
    moved  => sub { my $fh = opened("$ENV{TRACE}/data"); seek $fh, $_[0], 0; $fh },
    memory => sub { my $text = $_[0]; opened(\$text) },
    closed => sub { my $fh = opened("$ENV{TRACE}/data"); close $fh; $fh },
    pipe   => sub { open my $fh, '-|', 'echo', $_[0] or die "echo: $!\n"; $fh },
    code   => sub { sub { 1 } },
    char   => sub { chr hex $_[0] },                        # a character, with perl's flag
    utf8   => sub { my $text = chr hex $_[0]; utf8::encode($text); $text },
);

sub opened { open my $fh, '<:raw', $_[0] or die "$_[0]: $!\n"; return $fh }

sub real {
    my ($value) = @_;
    return { map { $_ => real($value->{$_}) } keys %$value } if ref $value eq 'HASH';
    return [map { real($_) } @$value] if ref $value eq 'ARRAY';
    return $value if !defined $value || ref $value || $value !~ /\A\@(\w+):(.*)\z/s;
    return $special{$1}->($2);
}

sub event_of {
    my ($text) = @_;
    my ($type, $fields) = split / /, $text, 2;
    return { type => $type, %{ real($json->decode(defined $fields ? $fields : '{}')) } };
}

my %answers = (
    http      => sub { ({ type => 'http.response.start', status => 200, headers => [['content-type', 'text/plain']] }, { type => 'http.response.body', body => $_[0] }) },
    sse       => sub { ({ type => 'sse.start' }, { type => 'sse.send', data => $_[0] }) },
    websocket => sub { ({ type => 'websocket.accept' }, { type => 'websocket.send', text => $_[0] }, { type => 'websocket.close' }) },
);

my %verbs = (
    receive => async sub { my ($self) = @_; my $event = await $self->{receive}->(); take($self, $event); return },
    drain   => async sub {
        my ($self) = @_;
        while (1) {
            my $event = await $self->{receive}->();
            take($self, $event);
            return if !$event->{more};
        }
    },
    until => async sub {
        my ($self, $type) = @_;
        while (1) {
            my $event = await $self->{receive}->();
            take($self, $event);
            return if $event->{type} eq $type || $event->{type} =~ /disconnect\z/;
        }
    },
    send   => async sub { my ($self, $text) = @_; await $self->{send}->(event_of($text)); return },
    try    => async sub { my ($self, $text) = @_; await $self->{send}->(event_of($text))->else(sub { Future->done }); return },
    detach => async sub { my ($self, $text) = @_; push @{ $self->{detached} }, $self->{send}->(event_of($text)); return },
    start  => async sub { my ($self) = @_; await $self->{send}->(($answers{http}->(''))[0]); return },
    body   => async sub { my ($self, $text) = @_; await $self->{send}->({ type => 'http.response.body', body => $text }); return },
    more   => async sub { my ($self, $text) = @_; await $self->{send}->({ type => 'http.response.body', body => $text, more => 1 }); return },
    echo   => async sub {
        my ($self) = @_;
        for my $event ($answers{ $self->{scope}{type} }->($self->{body})) { await $self->{send}->($event) }
        return;
    },
    messages => async sub {
        my ($self) = @_;
        while (1) {
            my $event = await $self->{receive}->();
            return if $event->{type} ne 'websocket.receive';
            await $self->{send}->({ %$event, type => 'websocket.send' });
        }
    },
    scope => async sub {
        my ($self) = @_;
        for my $event ($answers{ $self->{scope}{type} }->(described($self->{scope}))) { await $self->{send}->($event) }
        return;
    },
    abilities => async sub {
        my ($self) = @_;
        my $scope  = $self->{scope};
        my $pagi   = $scope->{pagi};
        my $shown  = { version => $pagi->{version}, spec_version => $pagi->{spec_version}, pagi => [sort keys %$pagi],
            extensions => [sort keys %{ $scope->{extensions} || {} }], objects => [sort grep { /\Apagi\./ } keys %$scope] };
        for my $event ($answers{ $scope->{type} }->($json->encode($shown))) { await $self->{send}->($event) }
        return;
    },
    connection => async sub {
        my ($self) = @_;
        my $conn = $self->{scope}{'pagi.connection'};
        $self->{log}->('connection ' . (!$conn ? 'none' : join ' ', map { "$_=" . Trace::value($conn->$_) }
                grep { $conn->can($_) } qw(is_connected disconnect_reason response_started response_complete)));
        return;
    },
    watch => async sub {
        my ($self) = @_;
        my ($conn, $log) = ($self->{scope}{'pagi.connection'}, $self->{log});
        return $log->('connection none') if !$conn;
        $conn->on_disconnect(sub { $log->('on_disconnect ' . Trace::value($_[0]) . ', response_started=' . Trace::value($conn->response_started)) });
        $conn->on_complete(sub { $log->('on_complete') });
        return;
    },
    sleep    => async sub { my ($self, $seconds) = @_; await $loop->delay_future(after => $seconds); return },
    together => async sub {
        my ($self) = @_;
        await Future->needs_all($self->{receive}->(), $self->{receive}->());
        return;
    },
    die => async sub { my ($self, $text) = @_; die "$text\n" },
);

sub take {
    my ($self, $event) = @_;
    $self->{body} .= $event->{body} if defined $event->{body};
    return;
}

# described is a scope without what differs from run to run.
sub described {
    my ($scope) = @_;
    my %shown = map { $_ => $scope->{$_} } grep { exists $scope->{$_} } qw(type http_version method scheme path raw_path query_string root_path subprotocols);
    $shown{headers} = [sort { $a->[0] cmp $b->[0] } map { [$_->[0], "$_->[1]"] } grep { $_->[0] !~ /\Ax-(?:case|script)\z/ } @{ $scope->{headers} }];
    $shown{$_} = ref $scope->{$_} eq 'ARRAY' ? scalar @{ $scope->{$_} } : undef for qw(client server);
    return $json->encode(\%shown);
}

my $app = async sub {
    my ($scope, $receive, $send) = @_;
    die "Unsupported scope type: $scope->{type}\n" if $scope->{type} eq 'lifespan';
    my ($script) = map { decode_base64($_->[1]) } grep { $_->[0] eq 'x-script' } @{ $scope->{headers} };
    my $self = { scope => $scope, receive => $receive, send => $send, log => $scope->{'trace.log'}, body => '' };
    for my $line (split /\n/, defined $script ? $script : "start\nbody hello") {
        my ($verb, $rest) = split / /, $line, 2;
        my $code = $verbs{$verb} or die "no verb $verb\n";
        await $code->($self, $rest);
    }
    return;
};

Trace::wrap($app);
