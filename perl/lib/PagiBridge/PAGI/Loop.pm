package PagiBridge::PAGI::Loop;

use strict;
use warnings;

=head1 NAME

PagiBridge::PAGI::Loop - the event loop of a worker

=head1 SYNOPSIS

    my $loop = PagiBridge::PAGI::Loop::start('EV');    # or without a name

=head1 DESCRIPTION

The loop is IO::Async's, the very object that an application gets by C<< IO::Async::Loop->new >>. Another loop
works below it, by an adapter: C<EV> stands for L<IO::Async::Loop::EV>.

=head1 FUNCTIONS

=head2 start($name)

Loads what a PAGI application may use without loading it, and returns the loop. To be called before the
application is loaded. Dies with a sentence that names the package to install.

=cut

my %packages = (
    'IO::Async::Loop' => 'libio-async-perl',
    'Future'          => 'libfuture-perl',
);

sub start {
    my ($name) = @_;
    need('a PAGI application');
    return open_loop($name);
}

=head2 need($what), open_loop($name)

The two halves of C<start>. C<need> loads the modules for C<$what>, which the message names.

=cut

sub need {
    my ($what) = @_;
    for my $module (sort keys %packages) {
        next if eval "require $module; 1";    ## no critic (ProhibitStringyEval)
        my ($why) = split /\n/, $@;
        die "$what needs the Perl module $module, which cannot be loaded. On Debian and Ubuntu:"
            . " apt install $packages{$module}; elsewhere: cpan $module. Perl says: $why\n";
    }
    return;
}

sub open_loop {
    my ($name) = @_;
    if (defined $name && $name ne '' && $name ne 'IO::Async') {
        die "loop: '$name' is no name of an event loop\n" if $name !~ /\A\w+(?:::\w+)*\z/;
        my $class = "IO::Async::Loop::$name";
        if (!eval "require $class; 1") {    ## no critic (ProhibitStringyEval)
            my ($why) = split /\n/, $@;
            die "loop: $name needs the Perl module $class, which cannot be loaded. On Debian and Ubuntu: apt install "
                . lc("libio-async-loop-$name-perl") . ", if there is one; elsewhere: cpan $class. Perl says: $why\n";
        }
        $ENV{IO_ASYNC_LOOP} = $name;
    }
    my $loop = IO::Async::Loop->new;
    # Libraries that are written for Future::IO then use this loop.
    eval { require Future::IO; require Future::IO::Impl::IOAsync; 1 };
    return $loop;
}

1;
