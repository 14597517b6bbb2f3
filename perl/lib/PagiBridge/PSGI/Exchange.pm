package PagiBridge::PSGI::Exchange;

use strict;
use warnings;

use Scalar::Util qw(weaken);

use PagiBridge::Answer ();
use PagiBridge::Describe qw(message);
use PagiBridge::Errors ();
use PagiBridge::PSGI ();
use PagiBridge::Wire qw(:frames);

=head1 NAME

PagiBridge::PSGI::Exchange - one request to an application of PSGI in an event loop

=head1 SYNOPSIS

    package PagiBridge::PSGI::Evented;
    use parent -norequire, 'PagiBridge::PSGI::Exchange';
    sub call { my ($self, $env) = @_; ...; $self->emit($event); ...; $self->finish }

    return $class->new($server, $scope, $receive, $send)->begin;    # in a PAGI application

=head1 DESCRIPTION

Makes the environment of a scope that a L<PagiBridge::PSGI::Reader> has read, and calls the method C<call>. The exchange ends by
C<finish> or C<fail>, or by itself when the client leaves.

=head1 METHODS

=head2 new($server, $scope, $receive, $send)

=cut

my $done;    # a Future that is done, the same for all exchanges that are over at once

sub new {
    my ($class, $server, $scope, $receive, $send) = @_;
    # Without keys for what most of them do not have: done, a Future; failed, an error; env, weak; kept, a copy of that
    # while there are cleanup handlers; sent, the last Future of an event.
    return bless { server => $server, scope => $scope, receive => $receive, send => $send, over => 0 }, $class;
}

=head2 begin

Calls the application, and returns the Future of the call.

=cut

sub begin {
    my ($self) = @_;
    my $env = eval { $self->environ };
    if (!$env) { $self->fail($@) }
    else {
        weaken($self->{env} = $env);
        $self->call($env);
        # Without the environment one cannot tell later what it had.
        if (!$self->{over} && PagiBridge::Answer::handlers_of($env)) {
            $self->{kept} = { %$env };
            delete $self->{kept}{'psgix.io'};
        }
    }
    return $self->{done} = $self->{server}{loop}->new_future if !$self->{over};
    return Future->fail("$self->{failed}\n") if defined $self->{failed};
    return $done ||= Future->done;
}

# environ returns the environment.
sub environ {
    my ($self) = @_;
    my ($scope, $server) = @$self{qw(scope server)};
    my $pairs = delete $scope->{extensions}{'psgi.environ'};
    die "wire: a scope without an environment\n" if !defined $pairs;
    my %env = (@{ $server->{base} }, unpack 'x4 (N/a*)*', $pairs);
    my $log = PagiBridge::PSGI::Exchange::Log->new($server, $scope);
    $env{'psgi.errors'} = PagiBridge::Errors->light($log);
    $env{'psgix.logger'} = sub { PagiBridge::PSGI::record($log, @_) };
    $env{'psgix.cleanup.handlers'} = [];
    my $length = $scope->{length};
    $env{CONTENT_LENGTH} = $length if $length || exists $env{CONTENT_LENGTH};
    $env{'psgi.input'} = delete $scope->{input};
    return \%env;
}

=head2 watch

To be called where the answer will come later: the exchange ends when the client leaves.

=cut

sub watch {
    my ($self) = @_;
    $self->{receive}->()->on_ready(sub { $self->leave });
    return;
}

=head2 emit($event)

Sends an event and returns its Future. Where the event is wrong, the exchange fails.

=cut

sub emit {
    my ($self, $event) = @_;
    my $sent = $self->{send}->($event);
    $self->{sent} = $sent;
    my ($why) = $sent->is_ready ? $sent->failure : ();
    $self->fail($why) if defined $why;
    return $sent;
}

=head2 after($future, $code)

Calls the code when a Future of C<emit> is ready, unless the exchange is over then.

=cut

sub after {
    my ($self, $future, $code) = @_;
    if ($future->is_ready) {
        $code->() if !$self->{over};
        return;
    }
    $future->on_ready(sub {
        my ($why) = $_[0]->failure;
        return $self->fail($why) if defined $why;
        $code->() if !$self->{over};
    });
    return;
}

=head2 buffered

How many bytes were sent that the client has not taken.

=cut

sub buffered {
    my ($self) = @_;
    my $scope = $self->{scope};
    my $stream = $scope->{link}->mux->{streams}{ $scope->{stream} };
    return $stream ? $stream->buffered : 0;
}

=head2 finish, leave

End the exchange: its answer is complete, or the client has left.

=cut

sub finish {
    my ($self) = @_;
    return if !$self->end;
    $self->{done}->done if $self->{done} && !$self->{done}->is_ready;
    return;
}

sub leave { return $_[0]->finish }

=head2 fail($error)

Ends the exchange with an error. Behind its end an error is only logged.

=cut

sub fail {
    my ($self, $error) = @_;
    my $text = message($error);
    if (!$self->end) {
        PagiBridge::PSGI::Exchange::Log->new(@$self{qw(server scope)})->log(LOG_ERROR, "after the end of the answer: $text");
        return;
    }
    $self->{failed} = $text;
    $self->{done}->fail("$text\n") if $self->{done} && !$self->{done}->is_ready;
    return;
}

# end reports whether the exchange was not over yet.
sub end {
    my ($self) = @_;
    return 0 if $self->{over}++;
    $self->close;
    if (my $env = $self->{env} || $self->{kept}) {
        my @handlers = PagiBridge::Answer::handlers_of($env);
        $self->{server}->clean_up($env, @handlers) if @handlers;
    }
    delete @$self{qw(kept sent)};
    return 1;
}

=head2 close

Is called once, at the end, for what a kind of exchange has to give up.

=cut

sub close { return }

package PagiBridge::PSGI::Exchange::Log;

# A log for one request, which must not hold what serves it.

sub new {
    my ($class, $server, $scope) = @_;
    my $self = bless { server => $server, stream => 0 }, $class;
    @$self{qw(stream link)} = @$scope{qw(stream link)} if $scope;
    return $self;
}

sub log {
    my ($self, $level, $text) = @_;
    my $server = $self->{server};
    if ($$ != $server->{pid}) {    # in a child that the application forked
        utf8::encode($text) if utf8::is_utf8($text);
        PagiBridge::Errors::plainly("$text\n");
        return;
    }
    $server->log($level, $text, $self->{link} ? { link => $self->{link}, stream => { id => $self->{stream} } } : ());
    return;
}

1;
