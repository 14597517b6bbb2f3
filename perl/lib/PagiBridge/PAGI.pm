package PagiBridge::PAGI;

use strict;
use warnings;

use Scalar::Util qw(blessed);

use PagiBridge ();
use PagiBridge::Event qw(scope_of);
use PagiBridge::PAGI::Call ();
use PagiBridge::PAGI::Connection ();
use PagiBridge::PAGI::Transport ();
use PagiBridge::Wire qw(:frames frame);

=head1 NAME

PagiBridge::PAGI - serves a PAGI application in a worker with an event loop

=head1 SYNOPSIS

    my $server = PagiBridge::PAGI->new(app => $app, loop => $loop, link => $link, worker => 1, strict => 1);
    $server->start(sub { my ($error) = @_; ... });   # lifespan.startup
    $loop->loop_once until $server->has_left;

=head1 DESCRIPTION

Calls the application once for the lifespan of this process, and once for each scope that a gateway opens. The
lifespan is the worker's own matter: it says READY when C<lifespan.startup> is answered, FAILED when it has
failed, and goes through C<lifespan.shutdown> after DRAIN, when its scopes have ended.

There is the link to the process that has started the worker, C<link>. Scopes come by that, or by the links of a
L<PagiBridge::PAGI::Gateways>.

=head1 METHODS

=head2 new(%options)

C<strict> has an event that comes too late or twice be an exception; without it such an event is dropped, and logged
once for each kind. C<is_seed> is for specification 0.1. C<grace> is how many seconds an application may go on when
its client has left a scope; 0 for any time.

=cut

sub new {
    my ($class, %self) = @_;
    my $self = bless \%self, $class;
    $self->{state}  = {};
    $self->{told}   = {};
    my %pagi = $self->{is_seed}
        ? (version => '0.1', spec_version => '0.1', features => {}, loop => $self->{loop})
        : (version => '0.3', spec_version => '0.3');
    $self->{pagi} = \%pagi;
    return $self;
}

=head2 log($level, $text, $call), drop($problem, $call)

Write to the log, about a L<PagiBridge::PAGI::Call> if one is given.

=cut

sub log {
    my ($self, $level, $text, $call) = @_;
    my $link = $call ? $call->{link} : $self->{link};
    $link->mux->log($level, $text, $call ? $call->{stream} : ());
    $link->touch;
    return;
}

sub drop {
    my ($self, $problem, $call) = @_;
    return if $self->{told}{$problem}++;
    return $self->log(LOG_WARN, "an event was dropped: $problem (this is logged once; in development it is an exception)", $call);
}

=head2 serve($stream, $link)

Serves a scope that has come by a link.

=cut

sub serve {
    my ($self, $stream, $link) = @_;
    my $scope = scope_of($stream->take_payload, { %{ $self->{pagi} } });
    my $type  = $scope->{type};
    my $call  = PagiBridge::PAGI::Call->new($self, $stream, $scope, $link);
    if ($self->{is_seed} && $type eq 'sse' && $scope->{method} ne 'GET') {
        $type = 'http';
        $call->take_as_http;
    }
    $scope->{state} = { %{ $self->{state} } };
    $call->{connection} = $scope->{'pagi.connection'} = PagiBridge::PAGI::Connection->new($self->{loop}) if $type eq 'http';
    $scope->{'pagi.transport'} = PagiBridge::PAGI::Transport->new($stream);
    return $call->run($self->{app});
}

=head2 disconnected($call), ended($call)

Called by a L<PagiBridge::PAGI::Call> when its client has left, and when it has ended.

=cut

sub disconnected {
    my ($self, $call) = @_;
    return if !$self->{grace} || !$call->{future};
    $call->{timer} = $self->{loop}->watch_time(after => $self->{grace}, code => sub {
        delete $call->{timer};
        $self->log(LOG_WARN, "the application goes on $self->{grace} s after its client has left, and is cancelled", $call);
        $call->give_up;
    });
    return;
}

sub ended {
    my ($self, $call) = @_;
    $self->{loop}->unwatch_time(delete $call->{timer}) if $call->{timer};
    $call->{link}->touch if !$call->{link}{asked};
    $self->{loaded}->report($self->{link}) if $self->{loaded} && keys %INC != $self->{loaded}{count};
    $self->look if $self->{draining};
    return;
}

=head2 start($done)

Sends C<lifespan.startup> to the application. C<$done> is called without an argument when the worker may
serve, with a message when it must not.

=cut

sub start {
    my ($self, $done) = @_;
    my $life = $self->{life} = { queue => [{ type => 'lifespan.startup' }], waiting => [], stage => PagiBridge::PAGI::Rules::BEGIN_STAGE, done => $done };
    my $scope = { type => 'lifespan', pagi => { %{ $self->{pagi} }, is_worker => 1, worker_num => $self->{worker} }, state => {}, extensions => {} };
    $life->{scope} = $scope;
    my $future = eval { $self->{app}->($scope, sub { $self->life_receive }, sub { $self->life_send(@_) }) };
    my $error = $@;
    return $self->life_over($error) if !defined $future && $error ne '';
    if (!blessed $future || !$future->can('on_ready')) {
        my $what = returned($future);
        return $self->started("the application returned $what, where a Future is wanted" . hint($future)) if $what =~ /ARRAY/;
        return $self->life_over;
    }
    $life->{future} = $future;
    $future->on_ready(sub { $self->life_over(scalar $future->failure) });
    return;
}

# started tells, once, how the startup has come out.
sub started {
    my ($self, $error) = @_;
    my $done = delete $self->{life}{done} or return;
    $self->{state} = { %{ $self->{life}{scope}{state} || {} } };
    $done->(defined $error ? $error : ());
    return;
}

sub life_receive {
    my ($self) = @_;
    my $life = $self->{life};
    if (my $event = shift @{ $life->{queue} }) { return Future->done($event) }
    my $future = $self->{loop}->new_future;
    push @{ $life->{waiting} }, $future;
    return $future;
}

sub life_send {
    my ($self, $event) = @_;
    my $life = $self->{life};
    my ($next, $problem) = eval { PagiBridge::PAGI::Rules::check('lifespan', $life->{stage}, $event) };
    return Future->fail($@) if !defined $next;
    if (defined $problem) {
        return Future->fail("$problem\n") if $self->{strict};
        $self->drop($problem);
        return Future->done;
    }
    $life->{stage} = $next;
    my $type = $event->{type};
    my $message = defined $event->{message} ? $event->{message} : '';
    if    ($type eq 'lifespan.startup.complete') { $life->{serves} = 1; $self->started }
    elsif ($type eq 'lifespan.startup.failed')   { $self->started('lifespan.startup.failed: ' . ($message eq '' ? '(without a message)' : $message)) }
    else {
        $self->log(LOG_ERROR, "lifespan.shutdown.failed: $message") if $type eq 'lifespan.shutdown.failed';
        $self->leave;
    }
    return Future->done;
}

# life_over is called when the application's call for the lifespan has ended.
sub life_over {
    my ($self, $error) = @_;
    my $life = $self->{life};
    delete $life->{future};
    $life->{over} = 1;
    if ($life->{done}) {
        my $why = defined $error ? 'it says: ' . text_of($error) : 'it returned without an answer';
        $self->log(LOG_INFO, "the application has no lifespan ($why)");
        return $self->started;
    }
    $self->log(LOG_ERROR, 'the lifespan of the application has ended with an error: ' . text_of($error)) if defined $error && !$life->{leaving};
    $self->leave if $life->{leaving};
    return;
}

=head2 count, recount

C<count> has what the application counts be told from now on, a moment after it was counted. C<recount> tells it at once, with
all gauges, because the gateways are others now.

=cut

use constant COUNT_TIME => 0.1;

sub count {
    my ($self) = @_;
    my $loop = $self->{loop};
    $PagiBridge::on_count = sub { $loop->watch_time(after => COUNT_TIME, code => sub { $self->tell_counts }) };
    return $self->recount;
}

sub recount {
    my ($self) = @_;
    PagiBridge::recount();
    return $self->tell_counts;
}

# tell_counts tells one gateway, the latest that takes it. Without one it is kept.
sub tell_counts {
    my ($self) = @_;
    return if !$PagiBridge::uncounted;
    my ($link) = sort { $b->{number} <=> $a->{number} } grep { $_->{counts} && !$_->{is_gone} } $self->links;
    return if !$link;
    ${ $link->mux->out } .= frame(COUNT, 0, 0, $_) for PagiBridge::take_counts();
    $link->touch;
    return;
}

=head2 drain, look

C<drain> is to be called when this worker is to end. Without a scope left it begins the shutdown. C<look> is to be called when
a link has lost its scopes in another way than by the end of their calls.

=cut

sub drain {
    my ($self) = @_;
    return if $self->{draining}++;
    $self->{loop}->later(sub { $self->look });    # when all that has come with DRAIN was taken
    return;
}

# links are all connections by which scopes come, and the one to the process that has started this worker.
sub links {
    my ($self) = @_;
    return ($self->{link}, $self->{gateways} ? $self->{gateways}->links : ());
}

sub look {
    my ($self) = @_;
    my $life = $self->{life};
    return if !$self->{draining} || $life->{leaving} || grep { $_->mux->streams } $self->links;
    $life->{leaving} = 1;
    return $self->leave if $life->{over} || !$life->{serves};
    my $event = { type => 'lifespan.shutdown' };
    while (my $future = shift @{ $life->{waiting} }) {
        next if $future->is_ready;
        return if eval { $future->done($event); 1 };
        $self->log(LOG_ERROR, "lifespan.shutdown: $@");
        return $self->leave;
    }
    push @{ $life->{queue} }, $event;
    # The application does something else: it cannot be told, unless it receives.
    return;
}

sub leave {
    my ($self) = @_;
    $self->tell_counts;
    $_->finish for $self->links;
    $self->{has_left} = 1;
    return;
}

=head2 has_left

True when the shutdown is complete: the process ends then.

=cut

sub has_left { return $_[0]{has_left} }

=head1 FUNCTIONS

=head2 text_of($error), returned($value), hint($value), place

The text of an exception; what a value is, for people; an addition for a PSGI answer; where the
application's code is at this moment.

=cut

sub text_of {
    my ($error) = @_;
    my $text = ref $error ? eval {"$error"} : $error;
    $text = ref $error if !defined $text || $text eq '';
    $text =~ s/\s+\z//;
    return $text;
}

sub returned {
    my ($value) = @_;
    return !defined $value ? 'nothing' : ref $value ? 'a reference to ' . ref $value : "'" . substr($value, 0, 80) . "'";
}

sub hint {
    my ($value) = @_;
    return ref $value eq 'ARRAY' ? ". It looks like a PSGI application: serve it with --psgi, or with 'psgi:' in a site file" : '';
}

sub place {
    for (my $level = 0; my (undef, $file, $line) = caller $level; $level++) {
        return ($file, $line) if $file !~ m{/(?:PagiBridge|Future|IO/Async)(?:/|\.pm\z)|/pagi-loop-worker\.pl\z};
    }
    return;
}

1;
