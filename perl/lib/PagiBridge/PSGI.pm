package PagiBridge::PSGI;

use strict;
use warnings;

use PagiBridge::Answer;
use PagiBridge::Errors;
use PagiBridge::Wire qw(:frames frame);

=head1 NAME

PagiBridge::PSGI - runs a PSGI 1.1 application for a worker

=head1 SYNOPSIS

    my $handler = PagiBridge::PSGI->new(
        app          => PagiBridge::Loader::load_file('/srv/app.psgi'),
        worker       => $worker,
        multiprocess => 1,
    );
    $worker->run($handler);

=head1 DESCRIPTION

Turns a request frame into an environment and calls the application. This module sends a small
array itself, and L<PagiBridge::Answer> sends every other answer. The environment offers
C<psgix.input.buffered>, C<psgix.harakiri>, C<psgix.cleanup>, C<psgix.logger> and
C<psgix.informational>.

=cut

sub new {
    my ($class, %arg) = @_;
    my $self = bless {
        app    => $arg{app},
        trace  => $arg{trace},
        errors => PagiBridge::Errors->handle($arg{worker}),
    }, $class;
    $self->{base} = [
        base(multiprocess => $arg{multiprocess}),
        'psgix.harakiri'      => 1,
        'psgix.logger'        => sub { record($arg{worker}, @_) },
        'psgix.informational' => sub { inform($arg{worker}, @_) },
    ];
    return $self;
}

=head2 base(%options)

A function: the names and values that are the same in each environment. C<multiprocess> and C<nonblocking> are the options.

=cut

sub base {
    my (%arg) = @_;
    return (
        'psgi.version'         => [1, 1],
        'psgi.multithread'     => '',
        'psgi.multiprocess'    => $arg{multiprocess} ? 1 : '',
        'psgi.run_once'        => '',
        'psgi.nonblocking'     => $arg{nonblocking} ? 1 : '',
        'psgi.streaming'       => 1,
        'psgix.input.buffered' => 1,
        'psgix.cleanup'        => 1,
    );
}

=head2 handle($worker, $values, $flags, $names)

Serves one request: C<$values> has a value for each of the names, with NULs between
them, the body last.

=cut

# handle runs for every request, so it avoids calls and copies where it can.
sub handle {
    my ($self, $worker, $values, $flags, $names) = @_;
    my %env = @{ $self->{base} };
    $env{'psgi.errors'} = tied *{ $self->{errors} } ? $self->{errors} : $self->renew_errors($worker);
    @env{@$names} = split /\0/, $values, @$names;
    my $body = $env{'psgi.input'};
    die "wire: a request with too few values\n" if !defined $body;
    if ($flags & BODY_FILE) {
        no warnings;    # about a NUL in a path; the error says enough
        open my $input, '<', $body or return $self->abort($worker, ABORT_DIED, "cannot open the request body: $!");
        $env{'psgi.input'} = $input;
    }
    else {
        open my $input, '<', \$body or return $self->abort($worker, ABORT_DIED, "cannot open the request body: $!");
        $env{'psgi.input'} = $input;
    }
    $env{'psgix.cleanup.handlers'} = [];

    my ($response, $answer, $error, $trace, $ok);
    {
        local $SIG{__DIE__} = $self->tracer(\$trace) if $self->{trace};
        $ok = eval {
            $response = $self->{app}->(\%env);
            # Most answers are small arrays and leave here, in one frame.
            my $cleanup = $env{'psgix.cleanup.handlers'};
            if (ref $cleanup eq 'ARRAY' && !@$cleanup && ref $response eq 'ARRAY' && @$response >= 3 && !$env{'psgix.harakiri.commit'}
                && defined(my $simple = PagiBridge::Answer::simple(@$response))) {
                $worker->{out} .= pack('N N C C', length $simple, $worker->{stream}, RESPONSE, FIN) . $simple;
                return 1;
            }
            $answer = PagiBridge::Answer->new($worker, \%env);
            $answer->give($response);
            1;
        };
        $error = $@ if !$ok;
    }
    return if $ok && !$answer;
    $answer ||= PagiBridge::Answer->new($worker, \%env);
    $answer->died($error, $trace) if !$ok;
    $answer->finish;
    return;
}

# tracer returns a handler that notes the stack of an exception. It then calls the
# application's own handler, which it replaces.
sub tracer {
    my ($self, $trace) = @_;
    my $own = $SIG{__DIE__};
    $own = \&$own if defined $own && !ref $own && $own =~ /\w/ && $own !~ /\A(?:DEFAULT|IGNORE)\z/;
    return sub {
        $$trace = $self->{trace}->();
        $own->(@_) if ref $own;
        die @_;
    };
}

sub renew_errors {
    my ($self, $worker) = @_;
    return $self->{errors} = PagiBridge::Errors->renew($self->{errors}, $worker);
}

my %level = (debug => LOG_DEBUG, info => LOG_INFO, warn => LOG_WARN, error => LOG_ERROR, fatal => LOG_ERROR);

# record is the code behind psgix.logger. It calls the method log of $worker.
sub record {
    my ($worker, $record) = @_;
    die "psgix.logger wants a hash with level and message\n" if ref $record ne 'HASH';
    my ($level, $text) = @$record{qw(level message)};
    $text = '' if !defined $text;
    $text =~ s/\s+\z//;
    return if $text eq '';
    return $worker->log($level{ defined $level ? lc $level : '' } || LOG_WARN, $text);
}

# inform is the code behind psgix.informational. It sends an interim response such as 103 Early
# Hints.
sub inform {
    my ($worker, $status, $headers) = @_;
    die "psgix.informational: status must be 102 to 199, not 100 or 101\n"
        if !defined $status || $status !~ /\A1(?:0[2-9]|[1-9][0-9])\z/;
    $headers ||= [];
    my $head = pack 'n N (N/a*)*', $status, @$headers / 2, @$headers;
    utf8::downgrade($head, 1) or die "psgix.informational: wide character in headers\n";
    die "psgix.informational: headers of ${\length $head} bytes\n" if length $head > MAX_HEAD;
    return $worker->write_now(frame(INFORMATIONAL, 0, $worker->{stream}, $head));
}

# abort answers a request for which the application was not called.
sub abort {
    my ($self, $worker, $kind, $message) = @_;
    return $worker->put(frame(ABORT, FIN, $worker->{stream}, pack 'C a*', $kind, $message));
}

1;
