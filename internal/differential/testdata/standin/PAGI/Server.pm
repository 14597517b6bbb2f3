package PAGI::Server;

use strict;
use warnings;

use parent 'IO::Async::Notifier';

use File::Temp  ();
use POSIX       ();
use Future      ();
use IO::Async::Loop ();
use Time::HiRes ();

use PagiBridge::Event          ();
use PagiBridge::PAGI           ();
use PagiBridge::PAGI::Body     ();
use PagiBridge::PAGI::Link     ();
use PagiBridge::Wire qw(unpack_pairs);

our $VERSION = '0.002999';

=head1 NAME

PAGI::Server - pagi-bridge in the place of the reference server, for upstream's own tests

=head1 SYNOPSIS

    PAGI_BRIDGE=./pagi-bridge PAGI_BRIDGE_SPEC=0.3 PERL5OPT='-Iperl/lib -Itestdata/standin -MPAGI::Server' perl t/05-sse.t

=head1 DESCRIPTION

A test of PAGI hands a code reference to a server in its own process, and then asks the server over a socket. Here
C<listen> starts the program C<PAGI_BRIDGE>, and this process becomes the gateway's worker: the program that the gateway
starts for perl is a shell script, which passes the worker's configuration on to this process. So requests take the way
that they take in production, and the application can still set variables of the test.

Only C<new>, C<listen>, C<port>, C<is_running> and C<shutdown> are here, and of the options C<app>, C<host>, C<port> and
C<max_body_size>.

=cut

sub configure {
    my ($self, %options) = @_;
    $self->{options} = { %{ $self->{options} || {} }, %options };
    return;
}

sub port       { return $_[0]{bound} }
sub is_running { return $_[0]{running} ? 1 : 0 }

sub listen {
    my ($self) = @_;
    my $loop = $self->loop or die "the server is not in a loop\n";
    my $dir  = $self->{dir} = File::Temp->newdir;
    write_file("$dir/perl", "#!/bin/sh\ncat > '$dir/new'\necho \$\$ > '$dir/pid'\nmv '$dir/new' '$dir/configuration'\nexec sleep 600\n");
    chmod 0755, "$dir/perl" or die "chmod: $!\n";
    my @limits = map { defined $self->{options}{$_->[0]} ? ($_->[1], $self->{options}{$_->[0]}) : () } ['max_body_size', '--max-body-size'];
    my $host   = $self->{options}{host} || '127.0.0.1';
    my $port   = $self->{options}{port} || 0;
    pipe my $log, my $write or die "pipe: $!\n";
    defined(my $pid = fork) or die "fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', $write or POSIX::_exit(1);
        open STDOUT, '>', '/dev/null' or POSIX::_exit(1);    # the access log
        delete @ENV{qw(PERL5OPT PAGI_ENV PLACK_ENV)};
        exec $ENV{PAGI_BRIDGE}, '--isolate', 'none', '--pagi', '-e', '1', '-w', 1, '--perl', "$dir/perl", '-o', $host, '-p', $port, @limits or POSIX::_exit(1);
    }
    close $write or die "close: $!\n";
    $self->{gateway} = $pid;
    until (-e "$dir/configuration") {
        die "pagi-bridge has ended:\n" . join '', <$log> if waitpid($pid, 1) > 0;    # 1 is WNOHANG
        Time::HiRes::sleep(0.005);
    }
    $self->become_worker($loop, read_file("$dir/configuration"));
    my $ready = $loop->new_future;
    my $text  = '';
    $loop->watch_io(handle => $log, on_read_ready => sub {
        if (!sysread $log, $text, 65536, length $text) {
            $loop->unwatch_io(handle => $log, on_read_ready => 1);
            $ready->fail("pagi-bridge has ended:\n$text") if !$ready->is_ready;
            return;
        }
        print STDERR $text if $ENV{PAGI_BRIDGE_LOG};
        if (!$ready->is_ready && $text =~ m{Serving at http://[^\n]*:(\d+)/}) {
            @$self{qw(bound running)} = ($1, 1);
            $ready->done($self);
        }
        $text = '' if $ready->is_ready;
    });
    return $ready;
}

sub become_worker {
    my ($self, $loop, $text) = @_;
    my @pairs = unpack_pairs($text);
    pop @pairs;
    my %config = @pairs;
    my $server;
    my $link = PagiBridge::PAGI::Link->connect(
        $config{socket}, token => $config{token}, features => 'scopes ping paths', streams => $config{streams},
        on_scope => sub { $server->serve(@_) }, on_drain => sub { $server->drain },
    );
    my $app = $self->{options}{app};
    $server = PagiBridge::PAGI->new(
        app => ref $app eq 'CODE' ? $app : $app->to_app, loop => $loop, link => $link, worker => 1, strict => 0, is_seed => ($ENV{PAGI_BRIDGE_SPEC} || '') eq '0.1', grace => $config{grace},
    );
    $link->on_gone(sub { });    # otherwise the process of the test would end
    $link->attach($loop, sub {
        $server->look if $server->{draining};
        $self->left($link) if $server->has_left;
    });
    $self->{server} = $server;
    $server->start(sub {
        my ($error) = @_;
        if   (defined $error) { $link->mux->failed($error) }
        else                  { $link->mux->ready }
        $link->touch;
    });
    return;
}

# left ends what stands for the worker's process.
sub left {
    my ($self, $link) = @_;
    $link->gone;
    my $pid = read_file("$self->{dir}/pid");
    kill 'KILL', $pid if $pid;
    return;
}

sub shutdown {
    my ($self) = @_;
    return Future->done if !$self->{running};
    $self->{running} = 0;
    my $loop = $self->loop;
    kill 'TERM', $self->{gateway};
    my $done = $loop->new_future;
    $loop->watch_process($self->{gateway} => sub { $done->done });
    return $done;
}

sub DESTROY {
    my ($self) = @_;
    kill 'KILL', $self->{gateway} if $self->{running} && $self->{gateway} && ($self->{owner} ||= $$) == $$;
    return;
}

sub write_file { my ($path, $text) = @_; open my $f, '>', $path or die "$path: $!\n"; print {$f} $text; close $f or die "$path: $!\n"; return }
sub read_file { my ($path) = @_; open my $f, '<:raw', $path or return ''; local $/; return scalar <$f> }

1;
