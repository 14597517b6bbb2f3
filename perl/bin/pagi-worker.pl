#!/usr/bin/env perl

use strict;
use warnings;

=head1 NAME

pagi-worker.pl - a worker process of pagi-bridge

=head1 SYNOPSIS

    pagi-worker.pl < configuration

=head1 DESCRIPTION

The gateway starts this program and writes the configuration to its standard input: the pairs
of F<bridge/wire/PROTOCOL.md>, section "Configuration". The program loads the application,
connects to the gateway and serves until the gateway tells it to stop. With C<preload> in the
configuration it is a zygote: it loads the application, and the workers are forked from it.

=cut

# The modules of the runtime are beside this file. Their directory does not appear in the
# application's @INC.
my $lib;
BEGIN {
    ($lib) = $0 =~ m{\A(.*)/bin/[^/]+\z} or die "$0: give the whole path of this file\n";
    $lib .= '/lib';
}
use lib $lib;
use PagiBridge;
use PagiBridge::Describe ();
use PagiBridge::Loader;
use PagiBridge::PSGI;
use PagiBridge::Title ();
use PagiBridge::Wire qw(unpack_pairs);
use PagiBridge::Worker;
no lib $lib;

$PagiBridge::runtime = 1;

binmode STDIN;
my $configuration = do { local $/; <STDIN> };
my @pairs = unpack_pairs($configuration);
pop @pairs;
my %config = @pairs;
close STDIN;    # resets $., which perl would name in every message
open STDIN, '<', '/dev/null' or die "cannot open /dev/null: $!\n";
select((select(STDOUT), $| = 1)[0]);    # what is printed is for the log

$SIG{PIPE} = sub { };    # not IGNORE, which programs the application starts would inherit

umask $config{umask} if defined $config{umask};
load('PagiBridge/Stack.pm') && PagiBridge::Stack::watch($config{stack}) if defined $config{stack};

my $class = 'PagiBridge::Worker';
if (defined $config{user}) {    # gateways dial the workers
    load('PagiBridge/Listening.pm');
    $class = 'PagiBridge::Listening' if !$config{preload};
}
my $worker = $class->connect($config{socket}, $config{token}, $config{preload} ? (role => 'zygote') : ());
my $zygote = $config{preload} ? zygote($worker) : undef;
title('worker');
my $app = eval {
    defined $config{code}
        ? PagiBridge::Loader::load_code($config{code})
        : PagiBridge::Loader::load_file($config{app});
};
if (!$app) {
    $worker->failed($@);
    exit 1;
}
if (defined $config{warmup}) {
    load('PagiBridge/Warmup.pm');
    PagiBridge::Warmup::run($app, $config{warmup}, multiprocess => $config{workers} > 1);
}
load('PagiBridge/Heap.pm') && PagiBridge::Heap::collapse() if !$zygote && !$config{reload};    # a reload is to be quick
if ($zygote) {
    $worker->ready;
    title('zygote');
    %config = (%config, %{ $zygote->run });
    # From here on this is a worker, a child of the zygote; nothing that belongs to one
    # process has been made before.
    PagiBridge::Stack::watch($config{stack}) if defined $config{stack};
    undef $zygote;
    title('worker');
    $class  = 'PagiBridge::Listening' if defined $config{listen};
    $worker = $class->connect($config{socket}, $config{token});
}
if (!eval { PagiBridge::run_after_fork($config{worker}); 1 }) {
    $worker->failed('after_fork: ' . PagiBridge::Describe::message($@));
    exit 1;
}
my $handler = PagiBridge::PSGI->new(
    app          => $app,
    worker       => $worker,
    multiprocess => $config{workers} > 1,
    trace        => $config{development} ? \&trace : undef,
);
if ($config{reload}) {
    load('PagiBridge/Loaded.pm');
    $handler = PagiBridge::Loaded->new($handler);
}
$worker->listen($config{listen}, $config{token}, $config{user}, $config{sendmsg}) if defined $config{listen};
$worker->ready;
$handler->report($worker) if $config{reload};
$worker->run($handler);
exit 0;

# title sets the name of the process for ps. From now on $0 is the application's file.
sub title { return PagiBridge::Title::set("pagi-$_[0] $config{name}", defined $config{code} ? '-e' : $config{app}) }

# load loads a module of the runtime that not every worker needs.
sub load {
    my ($file) = @_;
    local @INC = ($lib, @INC);
    return require $file;
}

sub zygote {
    my ($gateway) = @_;
    load('PagiBridge/Zygote.pm');
    return PagiBridge::Zygote->new($gateway);
}

# trace renders the call stack of an exception for the development page, without
# the frames of this runtime and without arguments, which may hold secrets.
sub trace {
    my @lines;
    for (my $level = 2; my (undef, $file, $line, $sub) = caller $level; $level++) {
        next if $file =~ m{/PagiBridge/|/pagi-worker\.pl\z};
        push @lines, "$sub called at $file line $line";
    }
    return join "\n", @lines;
}
