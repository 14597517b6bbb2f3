#!/usr/bin/env perl

use strict;
use warnings;

=head1 NAME

pagi-loop-worker.pl - a worker process of pagi-bridge with an event loop

=head1 SYNOPSIS

    pagi-loop-worker.pl < configuration

=head1 DESCRIPTION

The counterpart of F<pagi-worker.pl> for PAGI applications in Perl. The configuration is that of
F<bridge/wire/PROTOCOL.md>, and besides C<app>, C<code> or C<module>, C<args> (pairs, packed), C<loop>, C<spec>,
C<streams>, C<grace> and C<strict>. With C<psgi> the application is one of PSGI; C<multiprocess> and C<buffered> are for it.

=cut

my $lib;
BEGIN {
    ($lib) = $0 =~ m{\A(.*)/bin/[^/]+\z} or die "$0: give the whole path of this file\n";
    $lib .= '/lib';
}
use lib $lib;
use PagiBridge;
use PagiBridge::Describe ();
use PagiBridge::Event    ();
use PagiBridge::File     ();
use PagiBridge::Loaded   ();
use PagiBridge::Loader   ();
use PagiBridge::PAGI     ();
use PagiBridge::PAGI::Body   ();
use PagiBridge::PAGI::Link   ();
use PagiBridge::PAGI::Loader ();
use PagiBridge::PAGI::Loop   ();
use PagiBridge::Title  ();
use PagiBridge::Wire qw(unpack_pairs);
use PagiBridge::Worker ();
no lib $lib;

$PagiBridge::runtime = 1;

binmode STDIN;
my @pairs = unpack_pairs(do { local $/; <STDIN> });
pop @pairs;
my %config = @pairs;
close STDIN;
open STDIN, '<', '/dev/null' or die "cannot open /dev/null: $!\n";
select((select(STDOUT), $| = 1)[0]);    # what is printed is for the log

$SIG{PIPE} = sub { };    # not IGNORE, which programs the application starts would inherit

umask $config{umask} if defined $config{umask};
load('PagiBridge/Stack.pm') && PagiBridge::Stack::watch($config{stack}) if defined $config{stack};
my $what = defined $config{module} ? $config{module} : defined $config{code} ? '-e' : $config{app};

my ($app, $loop, $server, $is_seed);
my $class = $config{psgi} ? 'PagiBridge::PSGI::Server' : 'PagiBridge::PAGI';
load('PagiBridge/PSGI/Server.pm') if $config{psgi};
my $link = $config{preload} ? undef : connected();
if ($config{preload}) {
    my $gateway = PagiBridge::Worker->connect($config{socket}, $config{token}, role => 'zygote');
    my $zygote  = load('PagiBridge/Zygote.pm') && PagiBridge::Zygote->new($gateway);
    title('zygote');
    if (!eval { prepare(); 1 }) {
        $gateway->failed($@);
        exit 1;
    }
    $gateway->ready;
    %config = (%config, %{ $zygote->run });
    # From here on this is a worker, a child of the zygote.
    PagiBridge::Stack::watch($config{stack}) if defined $config{stack};
    undef $zygote;
    title('worker');
    $link = connected();
}
else {
    title('worker');
    fail($@) if !eval { prepare(); 1 };
    load('PagiBridge/Heap.pm') && PagiBridge::Heap::collapse() if !$config{reload};    # a reload is to be quick
}
fail('after_fork: ' . PagiBridge::Describe::message($@)) if !eval { PagiBridge::run_after_fork($config{worker}); 1 };

my $gateways;
if (defined $config{listen}) {
    load('PagiBridge/PAGI/Gateways.pm');
    fail($@) if !eval { $gateways = PagiBridge::PAGI::Gateways->new($config{listen}, map { $_ => $config{$_} } qw(token user streams)); 1 };
}
$server = $class->new(
    $config{psgi} ? (psgi => $app, multiprocess => $config{multiprocess}, buffered => $config{buffered}) : (app => $app),
    loop     => $loop,
    link     => $link,
    gateways => $gateways,
    worker   => $config{worker},
    strict   => $config{strict},
    is_seed  => $is_seed,
    grace    => $config{grace},
    loaded   => $config{reload} ? PagiBridge::Loaded->new : undef,
);
my $look = sub { $server->look if $server->{draining} };
$link->attach($loop, $look);
$server->start(sub {
    my ($error) = @_;
    fail($error) if defined $error;
    serve_gateways() if $gateways;
    $link->mux->ready;
    $server->count;
    $server->{loaded}->report($link) if $server->{loaded};
    $link->touch;
});
# The run of some adapters of other loops leaves out what later has queued, loop_once does not.
if ($config{psgi}) { turn() until $server->has_left }
else               { $loop->loop_once until $server->has_left }
exit 0;

# turn runs the loop once. Under the servers that applications of PSGI know, an exception in a timer of theirs is logged, and
# the others go on.
sub turn {
    return if eval { $loop->loop_once; 1 };
    my $error = $@;
    $server->log(PagiBridge::Wire::LOG_ERROR(), 'an exception in a callback of the event loop: ' . PagiBridge::Describe::message($error));
    return;
}

# connected returns a connection that has been greeted.
sub connected {
    return PagiBridge::PAGI::Link->connect(
        $config{socket},
        token    => $config{token},
        features => 'scopes ping paths counts',
        streams  => $config{streams},
        on_scope => sub { $server->serve(@_) },
        on_drain => sub { $server->drain },
    );
}

# serve_gateways takes scopes from the gateways that dial. When the keeper has gone, this worker serves those that it has to
# the end.
sub serve_gateways {
    my $is_alone = 0;
    my $left = sub { $server->drain if $is_alone && !$gateways->links };
    $link->on_gone(sub { $is_alone = 1; $left->() });
    $gateways->attach($loop,
        on_scope => sub { $server->serve(@_) },
        on_drain => sub { $server->drain },
        on_read  => $look,
        on_new   => sub { $server->recount },
        on_gone  => sub { $server->recount; $left->(); $look->() },
    );
    return;
}

# prepare opens the loop and loads the application.
sub prepare {
    return prepare_psgi() if $config{psgi};
    $loop = PagiBridge::PAGI::Loop::start($config{loop});
    my @args = unpack_pairs($config{args});
    pop @args;
    $app = PagiBridge::PAGI::Loader::load(map({ $_ => $config{$_} } grep { defined $config{$_} } qw(app code module)), args => \@args);
    my $text = defined $config{code} ? $config{code} : defined $config{app} ? PagiBridge::Loader::text($config{app}) : '';
    $is_seed = $config{spec} ? $config{spec} eq '0.1' : PagiBridge::PAGI::Loader::is_seed($text);
    return;
}

# prepare_psgi does the same for an application of PSGI. Its loop may depend on what it has loaded.
sub prepare_psgi {
    PagiBridge::PAGI::Loop::need('loop: true');
    # AnyEvent takes the first of these that is loaded.
    { no warnings 'once'; push @AnyEvent::REGISTRY, ['IO::Async::Loop', 'AnyEvent::Impl::IOAsync'] }
    my $name = $config{loop};
    $loop = PagiBridge::PAGI::Loop::open_loop($name) if defined $name;
    my $result = defined $config{code} ? PagiBridge::Loader::load_value(undef, $config{code}) : PagiBridge::Loader::load_value($config{app});
    my $is_mojo = PagiBridge::PSGI::Mojo::application($result);
    $app = $is_mojo ? $result : PagiBridge::Loader::application($result, $what);
    $loop ||= PagiBridge::PAGI::Loop::open_loop($is_mojo ? 'Mojo' : other_loop());
    die "the application is one of Mojolicious, and its event loop is not that of the worker, " . ref($loop) . ": say 'loop: Mojo'\n"
        if $is_mojo && !$loop->isa('IO::Async::Loop::Mojo');
    return;
}

# other_loop returns the loop that the application has loaded, if IO::Async has an adapter for it. That of Mojolicious can also
# run on EV.
sub other_loop {
    my @names = $INC{'Mojo/IOLoop.pm'} ? 'Mojo' : $INC{'EV.pm'} ? qw(EV Mojo) : return;
    for my $name (@names) {
        next if !eval "require IO::Async::Loop::$name; 1";    ## no critic (ProhibitStringyEval)
        return $name if $name ne 'Mojo' || !$INC{'EV.pm'} || Mojo::IOLoop->singleton->reactor->isa('Mojo::Reactor::EV');
    }
    warn "The application has loaded the event loop $names[0]. Code for it does not run, since the Perl module IO::Async::Loop::$names[-1]"
        . ' is missing. On Debian and Ubuntu: apt install ' . lc "libio-async-loop-$names[-1]-perl\n";
    return;
}

# fail tells the gateway why this worker cannot serve.
sub fail {
    my ($message) = @_;
    $message =~ s/\s+\z//;
    $link->mux->failed($message);
    $link->finish;
    exit 1;
}

# title sets the name of the process for ps. From now on $0 is the application's file.
sub title { return PagiBridge::Title::set("pagi-$_[0] $config{name}", $what) }

# load loads a module of the runtime that not every worker needs.
sub load {
    my ($file) = @_;
    local @INC = ($lib, @INC);
    return require $file;
}
