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

Loaded before the application, so that C<use PagiBridge;> works without an
installation. An application that is to run elsewhere as well asks
C<< PagiBridge->can('after_fork') >> instead.

=cut

my @hooks;
my $worker_number;

=head1 FUNCTIONS

=head2 after_fork($code)

Has the code called in every worker before its first request, with the worker's
number: 1 and up, never the same twice. With C<preload> that is after the worker was
forked from the process that has loaded the application, without it after the
application was loaded. Codes are called in the order they were given; what is given
after that time is called at once. When one dies the worker is not started.

What is needed in there: whatever must not be shared with other processes. Above all
connections to databases and other servers, and what is random.

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
