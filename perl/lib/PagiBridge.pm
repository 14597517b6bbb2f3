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

    PagiBridge::count('orders', 1, { kind => 'web' });
    PagiBridge::gauge('carts', scalar keys %carts);
    PagiBridge::timing('search', $seconds);

    my $cache = PagiBridge::cache();
    $cache->set('greeting', 'hello', 60);
    my $visits = $cache->incr('visits');
    my $lock = PagiBridge::lock('report', wait => 5) or return busy();
    PagiBridge::publish('news', 'A report is ready.');

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

=head2 count($name, $by, \%labels), gauge($name, $value, \%labels), timing($name, $seconds, \%labels)

Count something for the metrics of the site, which show the sum over all workers of the mount: C<count> raises a counter, by 1
without C<$by>. C<gauge> tells a state of this worker. C<timing> adds a duration to a histogram. The labels may be left out.

A name has small letters, digits and single underlines, begins with a letter, and has 64 characters at most. The gateway adds
C<app_> in front, and C<_total> to a counter, C<_seconds> to a timing; a name must not end in these. Numbers must be finite,
and those of C<count> and C<timing> not negative. A wrong name or number is an exception. The value of a label is cut to 128
bytes. A worker keeps 1000 label sets, and warns once of what it drops; the limits of a mount are in F<docs/metrics.md>.

Nothing is sent at once: a blocking worker tells what it has counted after each answer, one with an event loop ten times a second.
What is counted in a process that the application has forked is lost.

=cut

use constant {
    MOST_SETS  => 1000,
    MOST_VALUE => 128,
    MOST_FRAME => 32 * 1024,
    MOST       => 1e15,
    COUNTER    => 1,
    GAUGE      => 2,
    TIMING     => 3,
};

my @bounds = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10);
my $number = qr/\A-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\z/;

my (%counters, %timings, %gauges);    # by the beginning of a measure on the wire
my %changed;                          # the gauges to be told
my $has_warned;

our $uncounted = 0;                   # there is something to be told
our $on_count;                        # called when there is, for the first time after it was told

sub count {
    my ($name, $by, $labels) = @_;
    $by = 1 if !defined $by;
    my $key = measure('count', COUNTER, $name, $by, $labels, \%counters);
    $counters{$key} += $by if defined $key;
    return;
}

sub gauge {
    my ($name, $value, $labels) = @_;
    my $key = measure('gauge', GAUGE, $name, $value, $labels, \%gauges);
    return if !defined $key;
    $gauges{$key}  = 0 + $value;
    $changed{$key} = 1;
    return;
}

sub timing {
    my ($name, $seconds, $labels) = @_;
    my $key = measure('timing', TIMING, $name, $seconds, $labels, \%timings);
    return if !defined $key;
    my $of = $timings{$key} ||= [0, (0) x (@bounds + 1)];
    $of->[0] += $seconds;
    my $i = 0;
    $i++ while $i < @bounds && $seconds > $bounds[$i];
    $of->[$i + 1]++;
    return;
}

# measure checks what is counted, and returns the beginning of the measure on the wire: its kind, name and labels. It returns
# nothing if there is no room for it.
sub measure {
    my ($function, $kind, $name, $value, $labels, $known) = @_;
    wrong($function, 'a name of small letters, digits and single underlines')
        if !defined $name || $name !~ /\A[a-z][a-z0-9_]{0,63}\z/ || $name =~ /__/;
    wrong($function, "a name without the end '$1'") if $name =~ /(_(?:total|seconds|sum|count|bucket|created|info))\z/;
    wrong($function, 'a number') if !defined $value || $value !~ $number || abs $value > MOST;
    wrong($function, 'a number that is not negative') if $value < 0 && $kind != GAUGE;
    my @pairs;
    if (defined $labels) {
        wrong($function, 'a reference to a hash with 8 labels at most') if ref $labels ne 'HASH' || keys %$labels > 8;
        for my $label (sort keys %$labels) {
            wrong($function, 'labels with names of small letters, digits and single underlines')
                if $label !~ /\A[a-z][a-z0-9_]{0,63}\z/ || $label =~ /__/;
            wrong($function, "a label that is not called '$label'") if $label =~ /\A(?:mount|le|quantile)\z/;
            push @pairs, $label, label_value($labels->{$label});
        }
    }
    my $key = pack 'C N/a* N (N/a*)*', $kind, $name, @pairs / 2, @pairs;
    if (!exists $known->{$key} && keys(%counters) + keys(%timings) + keys(%gauges) >= MOST_SETS) {
        warn "PagiBridge: there are ${\MOST_SETS} label sets already, and what is counted by others is dropped (this is told once)\n" if !$has_warned++;
        return;
    }
    if (!$uncounted) {
        $uncounted = 1;
        $on_count->() if $on_count;
    }
    return $key;
}

# label_value returns a text as UTF-8 that is not too long.
sub label_value {
    my ($value) = @_;
    $value = defined $value ? "$value" : '';
    if (utf8::is_utf8($value)) { utf8::encode($value) }
    elsif ($value =~ /[^\x00-\x7f]/) {
        my $text = $value;
        utf8::encode($value) if !utf8::decode($text);    # it is not UTF-8 already
    }
    return $value if length $value <= MOST_VALUE;
    $value = substr $value, 0, MOST_VALUE;
    my $text = $value;
    $value =~ s/[\xc0-\xff][\x80-\xbf]*\z// if !utf8::decode($text);
    return $value;
}

sub wrong {
    my ($function, $what) = @_;
    my (undef, $file, $line) = caller 2;
    die "PagiBridge::$function wants $what at $file line $line.\n";
}

# take_counts is called by the runtime. It returns what is to be told, as payloads of COUNT frames, and forgets it.
sub take_counts {
    my @list = map { pack 'a* d>', $_, $counters{$_} } sort keys %counters;
    push @list, map { pack 'a* d>', $_, $gauges{$_} } sort keys %changed;
    push @list, map { pack 'a* d> N*', $_, @{ $timings{$_} } } sort keys %timings;
    %counters = %timings = %changed = ();
    $uncounted = 0;
    my @payloads = ('');
    for my $measure (@list) {
        push @payloads, '' if length($payloads[-1]) + length $measure > MOST_FRAME;
        $payloads[-1] .= $measure;
    }
    return grep { $_ ne '' } @payloads;
}

# recount is called by the runtime when there is another gateway, which knows nothing of the gauges.
sub recount {
    return if !%gauges;
    @changed{ keys %gauges } = (1) x keys %gauges;
    return if $uncounted;
    $uncounted = 1;
    $on_count->() if $on_count;
    return;
}

=head2 cache(%options)

Returns a L<PagiBridge::Cache>: values that all processes of the mount share, in the gateway's memory.

=head2 lock($name, wait => $seconds, hold => $seconds)

Returns a L<PagiBridge::Lock> that no other process of the mount has at the same time, or nothing if it was not free within
C<wait> (0 by default) or the gateway does not answer. It is given back when the object is destroyed, when the process ends,
and C<hold> (60 by default) after it was taken. With C<< future => 1 >> it returns a L<Future> of that, for applications in an event loop
of L<IO::Async>, where waiting must not stop everything else.

=head2 publish($channel, $message, event => $name, binary => 1)

Sends a message to the subscribers of a channel: WebSockets and event streams of mounts like C<ws_broadcast> and
C<sse_pubsub>, on all gateways of the cluster. Returns its id, or nothing if it could not be sent. A message is text, which is
sent as UTF-8, or with C<binary> bytes. C<event> is the name of the event for event streams.

These three work in processes that pagi-bridge has started. In others, a cache and locks are those of the process alone, and
nothing is published. F<docs/services.md> has more.

=cut

our $runtime;    # this process belongs to a gateway
our $shared;     # the address that the latest gateway has told

my ($home) = __FILE__ =~ m{\A(.*)PagiBridge\.pm\z};

# needs loads modules from where this one is. The application's @INC need not have that directory.
sub needs {
    my (@files) = @_;
    local @INC = ($home eq '' ? '.' : $home, @INC);
    require $_ for @files;
    return;
}

sub cache {
    my (@options) = @_;
    needs('PagiBridge/Cache.pm');
    return PagiBridge::Cache->new(@options);
}

sub lock {    ## no critic (ProhibitBuiltinHomonyms)
    my ($name, @options) = @_;
    needs('PagiBridge/Lock.pm');
    return PagiBridge::Lock::take($name, @options);
}

sub publish {
    my ($channel, $message, %options) = @_;
    needs('PagiBridge/Shared.pm');
    return PagiBridge::Shared::publish($channel, $message, %options);
}

1;
