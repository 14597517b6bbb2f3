package PagiBridge::PSGI::Server;

use strict;
use warnings;

use parent -norequire, 'PagiBridge::PAGI';

use PagiBridge::Event qw(scope_of);
use PagiBridge::PAGI ();
use PagiBridge::PSGI ();
use PagiBridge::PSGI::Evented ();
use PagiBridge::PSGI::Mojo ();
use PagiBridge::PSGI::Reader ();

=head1 NAME

PagiBridge::PSGI::Server - serves an application of PSGI in a worker with an event loop

=head1 SYNOPSIS

    my $server = PagiBridge::PSGI::Server->new(psgi => $app, loop => $loop, link => $link, worker => 1, buffered => 16 << 20);

=head1 DESCRIPTION

A L<PagiBridge::PAGI> whose application is made here. A L<PagiBridge::PSGI::Reader> takes in each request; then there is an exchange, a L<PagiBridge::PSGI::Evented>, or a
L<PagiBridge::PSGI::Mojo> where the application is one of Mojolicious.

=head1 METHODS

=head2 new(%options)

C<psgi> is the application: a code reference or an object of Mojolicious. C<buffered> is how many bytes of an answer may wait
for the client. C<multiprocess> is for the environment. The other options are those of L<PagiBridge::PAGI>.

=cut

sub new {
    my ($class, %arg) = @_;
    my $self = $class->SUPER::new(%arg);
    $self->{base} = [PagiBridge::PSGI::base(multiprocess => $arg{multiprocess}, nonblocking => 1)];
    $self->{pid}  = $$;
    $self->{cleaning} = 0;
    my $mojo = PagiBridge::PSGI::Mojo::application($arg{psgi});
    $self->{mojo} = PagiBridge::PSGI::Mojo::server($mojo, $arg{psgi}) if $mojo;
    my $kind = $mojo ? 'PagiBridge::PSGI::Mojo' : 'PagiBridge::PSGI::Evented';
    $self->{app} = sub {
        my ($scope, $receive, $send) = @_;
        return $self->life($receive, $send) if $scope->{type} eq 'lifespan';
        return $kind->new($self, $scope, $receive, $send)->begin;
    };
    return $self;
}

=head2 serve($stream, $link)

=cut

sub serve {
    my ($self, $stream, $link) = @_;
    my $scope = scope_of($stream->take_payload, $self->{pagi});
    @$scope{qw(stream link)} = ($stream->id, $link);
    PagiBridge::PSGI::Reader->new($self, $stream, $scope, $link);
    return;
}

# life answers the lifespan of the process.
sub life {
    my ($self, $receive, $send) = @_;
    return $receive->()
        ->then(sub { $send->({ type => 'lifespan.startup.complete' }) })
        ->then(sub { $receive->() })
        ->then(sub {
            Mojo::IOLoop->singleton->emit('finish') if $self->{mojo};
            return $self->clean;
        })
        ->then(sub { $send->({ type => 'lifespan.shutdown.complete' }) });
}

# clean returns a Future that waits until all cleanup handlers have run.
sub clean {
    my ($self) = @_;
    return Future->done if !$self->{cleaning};
    return $self->{cleaned} ||= $self->{loop}->new_future;
}

=head2 clean_up($env, @handlers)

Calls the handlers, with the environment, once the answer has been written.

=cut

sub clean_up {
    my ($self, $env, @handlers) = @_;
    $self->{cleaning}++;
    my $log = PagiBridge::PSGI::Exchange::Log->new($self);
    $self->{loop}->later(sub {
        for my $handler (@handlers) {
            next if eval { $handler->($env); 1 };
            $log->log(PagiBridge::Wire::LOG_ERROR(), 'a cleanup handler died: ' . PagiBridge::Describe::message($@));
        }
        return if --$self->{cleaning} || !$self->{cleaned};
        my $cleaned = delete $self->{cleaned};
        $cleaned->done;
    });
    return;
}

1;
