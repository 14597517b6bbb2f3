package PagiBridge::Hint;

use strict;
use warnings;

use Scalar::Util qw(blessed);

=head1 NAME

PagiBridge::Hint - recognizes an application that was written for another kind of server

=head1 SYNOPSIS

    my $message = "the application $what" . PagiBridge::Hint::loop();
    $message .= PagiBridge::Hint::error($message);

=head1 FUNCTIONS

Each returns a text to add to a message, mostly an empty one.

=head2 loop

For an application that has returned without an answer.

=cut

my @loops = qw(AnyEvent IO::Async::Loop Mojo::IOLoop POE Coro EV Event);

sub loop {
    my ($loop) = grep { my $file = "$_.pm"; $file =~ s{::}{/}g; $INC{$file} } @loops;
    return '' if !defined $loop;
    return ". It may wait for an event loop ($loop is loaded), and a worker runs none:"
        . ' wait for the result before returning, as with $condvar->recv, or run the application in a worker with an event'
        . " loop: --loop, or 'loop: true' of the mount";
}

=head2 value($value)

For a value that is not an answer.

=cut

sub value {
    my ($value) = @_;
    return '' if !blessed $value;
    return loop() if ref($value) =~ /CondVar/;
    return pagi() if eval { $value->isa('Future') };
    return '';
}

=head2 error($message)

For an exception.

=cut

sub error {
    my ($message) = @_;
    return pagi() if $message =~ /\AToo few arguments for subroutine .*\(got 1; expected (?:at least )?3\)/;
    # Perl's own words are the last ones; what comes before may be a client's.
    my $end = length $message > 4096 ? substr $message, -4096 : $message;
    my ($file, $line) = $end =~ /.* at (\S[^\n]*?) line ([0-9]{1,7})\b/s;
    my $source = defined $file && $message =~ /undefined value/ ? source($file, $line) : '';
    return '' if "$message $source" !~ /psgix\.io|psgi\.nonblocking|\bnon-?blocking server|event loop/i;
    return "\nA worker serves one request at a time and runs no event loop:"
        . ' psgi.nonblocking is false, and there is no psgix.io.'
        . " Workers with an event loop have both: --loop, or 'loop: true' of the mount.";
}

# source returns a line of a file that perl has loaded, from the file's first megabyte. A
# message may name any file, so no other one is opened.
sub source {
    my ($file, $line) = @_;
    return '' if !-f $file || !grep { defined && !ref && $_ eq $file } values %INC;
    open my $in, '<', $file or return '';
    read $in, my $text, 1 << 20 or return '';
    my $found = (split /\n/, $text, $line + 1)[$line - 1];
    return defined $found ? $found : '';
}

sub pagi {
    return '. This looks like a PAGI application in Perl, which is called with scope, receive and send;'
        . ' here a PSGI application is wanted, which is called with an environment';
}

1;
