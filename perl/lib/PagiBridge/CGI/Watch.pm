package PagiBridge::CGI::Watch;

use strict;
use warnings;

=head1 NAME

PagiBridge::CGI::Watch - notes which variables of the environment a script looks at while it is compiled

=head1 SYNOPSIS

    my $watch = PagiBridge::CGI::Watch->begin;
    ... a script is compiled ...
    my $why = $watch->end;      # '' or why it must be compiled for each request
    my @names = $watch->names;  # variables of the environment it has looked at

=head1 DESCRIPTION

C<%ENV> is replaced by a tied hash while a script is compiled and its C<BEGIN> blocks, C<use>
statements and constants run. The hash notes which variables are read. C<$^T>, the time at
which perl was started, is also tied. The gateway watches the system calls of the script.

Perl's random numbers begin with a known seed, so that their use can be detected. Each run must
get a seed of its own.

=cut

# The seed, and the modules that use one random number when they are loaded and keep nothing of
# it.
my $SEED  = 20_110_614;
my $STIRS = '/auto/Net/SSLeay/randomize.al';

=head1 METHODS

=head2 begin

Begins to watch.

=cut

sub begin {
    my ($class) = @_;
    my $self = bless { real => \%ENV, watched => {} }, $class;
    $self->{notes} = tie %{ $self->{watched} }, 'PagiBridge::CGI::Watch::Environment', $self->{real};
    srand $SEED;
    *main::ENV = $self->{watched};
    $self->{time}  = tie $^T, 'PagiBridge::CGI::Watch::Start', $^T;
    $self->{count} = Internals::SvREFCNT(%{ $self->{watched} }) . ' ' . Internals::SvREFCNT(%{ $self->{notes} });
    return $self;
}

=head2 end

Gives C<%ENV> back and returns why the result cannot be used for other requests, or
the empty string.

=cut

sub end {
    my ($self) = @_;
    my $held = $self->is_held;
    *main::ENV = $self->{real};
    my $timed = delete($self->{time})->[1];
    untie $^T;
    return 'it keeps a reference to %ENV, or has replaced it' if $held;
    return 'it lists all of %ENV' if $self->{notes}{all};
    return 'it uses random numbers' if has_rolled();
    return 'it looks at the clock ($^T)' if $timed;
    return '';
}

# has_rolled reports whether a random number was used by other code than the modules that keep
# nothing of it.
sub has_rolled {
    my $next = rand;
    srand $SEED;
    my @first = (rand, rand);
    return $next != $first[ (grep { index($_, $STIRS) >= 0 } keys %INC) ? 1 : 0 ];
}

# is_held reports whether the script keeps a reference to the tied hash or to one of its
# variables. There are then more references to the hash, or to the object behind it, than in
# the beginning. It also reports whether the name ENV now leads to another hash.
sub is_held {
    my ($self) = @_;
    return 1 if Internals::SvREFCNT(%{ $self->{watched} }) . ' ' . Internals::SvREFCNT(%{ $self->{notes} }) ne $self->{count};
    return *main::ENV{HASH} != $self->{watched};
}

=head2 names

Returns the names of the variables that were read.

=cut

sub names { my ($self) = @_; return sort keys %{ $self->{notes}{read} } }

=head2 changes

Returns whether the script has emptied the environment. Then come pairs: the name of each
variable that the script has set or removed, and 1.

=cut

sub changes { my ($self) = @_; return $self->{notes}{cleared} ? 1 : 0, %{ $self->{notes}{own} } }

=head2 overrides($name)

Reports whether the script has itself set or removed the variable. Without a name it reports
whether the script has done so with any.

=cut

sub overrides {
    my ($self, $name) = @_;
    my $notes = $self->{notes};
    return $notes->{cleared} || (defined $name ? $notes->{own}{$name} : %{ $notes->{own} } ? 1 : 0);
}

package    # not a module of its own
    PagiBridge::CGI::Watch::Environment;

sub TIEHASH {
    my ($class, $real) = @_;
    return bless { real => $real, read => {}, own => {} }, $class;
}

sub look {
    my ($self, $name) = @_;
    $self->{read}{$name} = 1 if !$self->{own}{$name} && !$self->{cleared};
    return $self->{real};
}

sub FETCH  { my ($self, $name) = @_; return $self->look($name)->{$name} }
sub EXISTS { my ($self, $name) = @_; return exists $self->look($name)->{$name} }

sub STORE {
    my ($self, $name, $value) = @_;
    $self->{own}{$name} = 1;
    return $self->{real}{$name} = $value;
}

sub DELETE {
    my ($self, $name) = @_;
    my $real = $self->look($name);
    $self->{own}{$name} = 1;
    return delete $real->{$name};
}

sub CLEAR {
    my ($self) = @_;
    $self->{cleared} = 1;
    %{ $self->{real} } = ();
    return;
}

sub FIRSTKEY {
    my ($self) = @_;
    $self->{all} = 1 if !$self->{cleared};
    keys %{ $self->{real} };
    return each %{ $self->{real} };
}

sub NEXTKEY { my ($self) = @_; return each %{ $self->{real} } }
sub SCALAR  { my ($self) = @_; $self->{all} = 1 if !$self->{cleared}; return scalar %{ $self->{real} } }

package    # not a module of its own
    PagiBridge::CGI::Watch::Start;

sub TIESCALAR { my ($class, $time) = @_; return bless [ $time, 0 ], $class }
sub FETCH { my ($self) = @_; $self->[1] = 1; return $self->[0] }
sub STORE { my ($self, $time) = @_; @$self = ($time, 1); return }

1;
