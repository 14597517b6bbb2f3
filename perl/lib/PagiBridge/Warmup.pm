package PagiBridge::Warmup;

use strict;
use warnings;

use Scalar::Util qw(blessed openhandle reftype);

use PagiBridge::Answer ();
use PagiBridge::Describe qw(message);
use PagiBridge::PSGI ();
use PagiBridge::Wire qw(unpack_pairs);

=head1 NAME

PagiBridge::Warmup - requests to a PSGI application before it serves

=head1 SYNOPSIS

    PagiBridge::Warmup::run($app, $packed_requests, multiprocess => 1);

=head1 DESCRIPTION

An application loads much in its first requests: templates, caches, modules. Requests that a zygote makes before it forks
leave that in the memory that all workers share. Where there is no zygote each worker makes them before it is ready.

The answers are read to their ends and dropped. A request that fails is a warning, and the application serves all the same.

=head1 FUNCTIONS

=head2 run($app, $requests, %options)

C<$requests> are pairs, packed, of a target and the environment of its request, which are pairs again. The options are those of
C<base> of L<PagiBridge::PSGI>.

=cut

# Of an endless answer this much is read.
use constant MOST => 16 * 1024 * 1024;

sub run {
    my ($app, $requests, %options) = @_;
    my @list = unpack_pairs($requests);
    pop @list;
    while (my ($target, $pairs) = splice @list, 0, 2) {
        my @pairs = unpack_pairs($pairs);
        pop @pairs;
        my $problem = request($app, { PagiBridge::PSGI::base(%options), @pairs });
        warn "warmup: GET $target: $problem\n" if defined $problem;
    }
    return;
}

# request makes one request, and returns what is wrong with the answer.
sub request {
    my ($app, $env) = @_;
    open my $input, '<', \(my $nothing = '') or return "no input: $!";
    @$env{qw(psgi.input psgi.errors psgix.cleanup.handlers)} = ($input, \*STDERR, []);
    $env->{'psgix.logger'} = sub { warn "$_[0]{level}: $_[0]{message}\n" };
    my $response;
    return 'it died: ' . message($@) if !eval { $response = $app->($env); 1 };
    my $problem = eval { taken($response) };
    $problem = 'it died: ' . message($@) if $@ ne '';
    for my $handler (PagiBridge::Answer::handlers_of($env)) {
        next if eval { $handler->($env); 1 };
        $problem = 'a cleanup handler died: ' . message($@) if !defined $problem;
    }
    return $problem;
}

# taken reads an answer to its end, and returns what is wrong with it.
sub taken {
    my ($response) = @_;
    my $kind = reftype($response) || '';
    if ($kind eq 'CODE') {
        my ($late, $writer);
        $response->(sub {
            $late = $_[0];
            return if ref $late ne 'ARRAY' || defined $late->[2];
            return $writer = PagiBridge::Warmup::Writer->new;
        });
        return 'no answer came'             if !defined $late;
        return 'its writer was not closed'  if $writer && !$writer->{closed};
        return status($late)                if $writer;
        $response = $late;
        $kind     = reftype($response) || '';
    }
    return 'the application ' . PagiBridge::Answer::wrong($response) if $kind ne 'ARRAY' || @$response < 3;
    my $body = $response->[2];
    return status($response) if ref $body eq 'ARRAY';
    my $read = 0;
    local $/ = \65536;
    while ($read < MOST) {
        my $piece = blessed $body && $body->can('getline') ? $body->getline : openhandle($body) ? readline $body : undef;
        last if !defined $piece;
        $read += length $piece;
    }
    if    (blessed $body && $body->can('close')) { $body->close }
    elsif (openhandle($body))                    { close $body }
    return status($response);
}

sub status {
    my ($response) = @_;
    my ($status, undef, $problem) = PagiBridge::Answer::status_and_headers([@$response[0, 1], []]);
    return "the application $problem" if defined $problem;
    return $status >= 400 ? "it answers $status" : undef;
}

package PagiBridge::Warmup::Writer;

# A writer that drops what it gets, and ends an endless answer.
sub new { return bless { written => 0, closed => 0 }, $_[0] }

sub write {
    my ($self, $bytes) = @_;
    $self->{written} += length $bytes if defined $bytes;
    die "the answer has no end\n" if $self->{written} > PagiBridge::Warmup::MOST();
    return length $bytes;
}

sub close { $_[0]{closed} = 1; return }

1;
