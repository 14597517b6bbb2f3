package PagiBridge;

use strict;
use warnings;

=head1 NAME

PagiBridge - what an application can ask of the gateway it runs under

=head1 SYNOPSIS

    use DBI;

    my $dbh;
    my $connect = sub { $dbh = DBI->connect($dsn, $user, $password, { RaiseError => 1 }) };
    if (PagiBridge->can('after_fork')) { PagiBridge::after_fork($connect) }
    else                               { $connect->() }

=head1 DESCRIPTION

The runtime loads this module before the application, so that C<use PagiBridge;> works without
an installation. An application that must also run elsewhere tests C<<
PagiBridge->can('after_fork') >> instead.

=cut

my @hooks;
my $worker_number;

=head1 FUNCTIONS

=head2 after_fork($code)

Makes every worker call the code before its first request, with the worker's number: 1 and up,
never the same twice. With C<preload> the call comes after the worker was forked from the
process that has loaded the application. Without it the call comes after the application was
loaded. Codes are called in the order in which they were given. A code that is given later is
called at once. When a code dies, the worker is not started.

The code should open everything that processes must not share: above all connections to
databases and other servers, and sources of random numbers.

=cut

sub after_fork {
    my ($code) = @_;
    if (ref $code ne 'CODE') {
        my (undef, $file, $line) = caller;
        die "PagiBridge::after_fork wants a code reference at $file line $line.\n";
    }
    if (defined $worker_number) { $code->($worker_number) }
    else                        { push @hooks, $code }
    return;
}

# run_after_fork is called by the runtime, once in each worker.
sub run_after_fork {
    ($worker_number) = @_;
    $_->($worker_number) for splice @hooks;
    return;
}

1;
