package PagiBridge::PAGI::Gateways;

use strict;
use warnings;

use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);

use PagiBridge::Listen ();
use PagiBridge::Mux    ();
use PagiBridge::PAGI::Link ();

=head1 NAME

PagiBridge::PAGI::Gateways - the gateways that dial a worker with an event loop

=head1 SYNOPSIS

    my $gateways = PagiBridge::PAGI::Gateways->new($path, token => $token, user => $user, streams => 10000);
    $gateways->attach($loop,
        on_scope => sub { my ($stream, $link) = @_; ... },
        on_new   => sub { ... },     # there is another gateway
        on_drain => sub { ... },     # a gateway says that this worker is to end
        on_read  => sub { ... },     # something has come from a gateway
        on_gone  => sub { ... },     # a gateway has gone
    );

=head1 DESCRIPTION

The keeper of this worker has started it, and ends it. Scopes come from gateways, any number at once: during a restart the
old one and the new one. Each has a L<PagiBridge::PAGI::Link> of its own. When one goes, its scopes end as if their
clients had left, and those of the others go on.

=head1 METHODS

=head2 new($path, %options)

Makes the socket; see L<PagiBridge::Listen>. C<streams> is how many scopes a gateway may have open at once. Dies if the
socket cannot be made.

=cut

use constant {
    GREET_TIME => 5,     # seconds that a gateway may take for its HELLO
    GREETING   => 16,    # connections that may be about to say theirs
};

sub new {
    my ($class, $path, %arg) = @_;
    my $listen = PagiBridge::Listen->new($path,
        token => $arg{token}, user => $arg{user}, features => 'scopes ping paths counts', info => [PagiBridge::Mux::info($arg{streams})]);
    return bless { listen => $listen, streams => $arg{streams}, links => {}, greeting => 0 }, $class;
}

=head2 attach($loop, %codes)

Takes connections from now on.

=cut

sub attach {
    my ($self, $loop, %codes) = @_;
    @$self{qw(loop codes)} = ($loop, \%codes);
    $loop->watch_io(handle => $self->{listen}->socket, on_read_ready => sub { $self->accept });
    return;
}

=head2 links

The links to the gateways that are connected.

=cut

sub links { return values %{ $_[0]{links} } }

sub accept {
    my ($self) = @_;
    my $socket = $self->{listen}->accept or return;
    return if $self->{greeting} >= GREETING;    # which closes it
    my $flags = fcntl $socket, F_GETFL, 0;
    fcntl $socket, F_SETFL, $flags | O_NONBLOCK;
    my ($loop, $in, $timer) = ($self->{loop}, '');
    my $end = sub {
        $self->{greeting}--;
        $loop->unwatch_io(handle => $socket, on_read_ready => 1);
        $loop->unwatch_time($timer);
        undef $timer;    # it refers to this code
    };
    $self->{greeting}++;
    $timer = $loop->watch_time(after => GREET_TIME, code => $end);
    $loop->watch_io(handle => $socket, on_read_ready => sub {
        my $n = sysread $socket, $in, 65536, length $in;
        return if !defined $n && ($!{EAGAIN} || $!{EINTR});
        return $end->() if !$n;
        my ($answer, $terms) = $self->{listen}->greet($socket, \$in);
        return if !defined $answer;
        $end->();
        my $written = syswrite $socket, $answer;    # it fits into an empty socket
        $self->welcome($socket, $terms, $in) if $terms && defined $written && $written == length $answer;
    });
    return;
}

# welcome begins with a gateway that was greeted.
sub welcome {
    my ($self, $socket, $terms, $in) = @_;
    my $codes = $self->{codes};
    my $link  = PagiBridge::PAGI::Link->welcomed($socket,
        peer     => { %{ $terms->{peer} }, features => join ' ', keys %{ $terms->{features} } },
        streams  => $self->{streams},
        on_scope => $codes->{on_scope},
        on_drain => $codes->{on_drain},
    );
    $self->{links}{$link} = $link;
    $link->on_gone(sub { $self->lost($_[0]) });
    $link->attach($self->{loop}, $codes->{on_read});
    $link->mux->feed($in);
    $link->touch;
    $codes->{on_new}->();
    return;
}

# lost ends what came from a gateway that has gone.
sub lost {
    my ($self, $link) = @_;
    delete $self->{links}{$link};
    $link->mux->close(1006, 'server_shutdown');
    $self->{codes}{on_gone}->();
    return;
}

1;
