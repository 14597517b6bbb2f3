package PagiBridge::PAGI::Sent;

use strict;
use warnings;

our @ISA = ('Future');    # which the event loop has loaded when the first one is made

=head1 NAME

PagiBridge::PAGI::Sent - the Future of an event that was sent at once

=head1 SYNOPSIS

    return PagiBridge::PAGI::Sent::at_once($loop);

=head1 DESCRIPTION

A Future that is done, without a value, and the same for all. C<await> asks it twice for each event, so it answers without
looking into itself (see L<Future::AsyncAwait::Awaitable>).

=head1 FUNCTIONS

=head2 at_once($loop)

=cut

my ($sent, $loop);

sub at_once {
    ($loop) = @_;
    return $sent ||= bless Future->done, __PACKAGE__;
}

# The Futures that are made from it are those of the loop.
sub new { return $loop->new_future }

sub AWAIT_IS_READY { return 1 }
sub AWAIT_GET      { return }

1;
