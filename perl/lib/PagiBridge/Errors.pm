package PagiBridge::Errors;

use strict;
use warnings;

use IO::Handle ();
use Symbol ();

use PagiBridge::Wire qw(LOG_ERROR);

=head1 NAME

PagiBridge::Errors - psgi.errors: a handle whose lines become log records

=head1 SYNOPSIS

    my $handle = PagiBridge::Errors->handle($worker);
    print {$handle} "disk almost full\n";
    $handle->print("the same\n");

=head1 DESCRIPTION

A tied handle, so that it is printed to as any handle is. What is printed in one
go is one record and belongs to the request being served.

=cut

sub handle {
    my ($class, $worker) = @_;
    my $glob = Symbol::gensym();
    bless $glob, 'IO::Handle';
    tie *$glob, $class, $worker;
    return $glob;
}

sub TIEHANDLE {
    my ($class, $worker) = @_;
    return bless { worker => $worker }, $class;
}

sub PRINT {
    my $self = shift;
    no warnings 'uninitialized';
    my $text = join($, , @_) . $\;
    $text =~ s/\s+\z//;
    $self->{worker}->log(LOG_ERROR, $text) if $text ne '';
    return 1;
}

sub PRINTF {
    my ($self, $format, @list) = @_;
    return $self->PRINT(sprintf $format, @list);
}

sub WRITE {
    my ($self, $bytes, $length, $offset) = @_;
    $self->PRINT(substr $bytes, $offset || 0, defined $length ? $length : length $bytes);
    return $length;
}

sub BINMODE { return 1 }
sub OPEN    { return 1 }
sub CLOSE   { return 1 }
sub FILENO  { return fileno STDERR }

1;
