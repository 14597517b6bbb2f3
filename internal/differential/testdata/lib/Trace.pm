package Trace;

use strict;
use warnings;

=head1 NAME

Trace - a PAGI middleware that logs the events of an application

=head1 SYNOPSIS

    Trace::wrap($app);

=head1 DESCRIPTION

A scope with the header C<x-case> is logged in the file of that name in the directory C<TRACE>: a line for the scope,
for each event that is received or sent, for each event that C<send> refuses, and for the end.

=head1 FUNCTIONS

=head2 wrap($app)

=cut

sub wrap {
    my ($app) = @_;
    return sub {
        my ($scope, $receive, $send) = @_;
        my ($case) = map { $_->[1] } grep { $_->[0] eq 'x-case' } @{ $scope->{headers} || [] };
        return $app->($scope, $receive, $send) if !defined $case;
        my $log = opened($case);
        $log->("scope $scope->{type}");
        my $future = eval {
            $app->({ %$scope, 'trace.log' => $log }, sub { received($log, $receive->(@_)) }, sub { sent($log, $_[0], $send->(@_)) });
        };
        if (!defined $future) {
            $log->('end: an exception');
            die $@;    ## no critic (ErrorHandling::RequireCarping)
        }
        return $future->on_ready(sub {
            my ($f) = @_;
            $log->('end: ' . ($f->is_cancelled ? 'cancelled' : defined $f->failure ? 'an exception' : 'returned'));
        });
    };
}

# opened returns a function that writes a line into the log of a case.
sub opened {
    my ($case) = @_;
    open my $handle, '>>', "$ENV{TRACE}/$case" or die "$ENV{TRACE}/$case: $!\n";
    return sub { syswrite $handle, "$_[0]\n" };
}

sub received {
    my ($log, $future) = @_;
    return $future->on_ready(sub {
        my ($f) = @_;
        return if $f->is_cancelled;
        my ($event) = defined $f->failure ? () : $f->get;
        $log->('receive ' . (defined $event ? shown($event) : 'fails'));
    });
}

sub sent {
    my ($log, $event, $future) = @_;
    my $type = ref $event eq 'HASH' && defined $event->{type} ? $event->{type} : 'an event';
    $log->("send $type");
    return $future->on_ready(sub { my ($f) = @_; $log->("refused $type") if !$f->is_cancelled && defined $f->failure });
}

sub shown {
    my ($event) = @_;
    return join ' ', $event->{type}, map { "$_=" . value($event->{$_}) } grep { $_ ne 'type' } sort keys %$event;
}

=head2 value($value)

A value on one line, in printable ASCII.

=cut

sub value {
    my ($value) = @_;
    return 'undef' if !defined $value;
    return '[' . join(', ', map { value($_) } @$value) . ']' if ref $value eq 'ARRAY';
    return '{' . join(', ', map { "$_: " . value($value->{$_}) } sort keys %$value) . '}' if ref $value eq 'HASH';
    return ref $value if ref $value;
    my $length = length $value;
    return "($length of " . value(substr $value, 0, 10) . '...)' if $length > 200;
    $value =~ s/([^ !#-\[\]-~])/sprintf '\\x{%x}', ord $1/ge;
    return qq{"$value"};
}

1;
