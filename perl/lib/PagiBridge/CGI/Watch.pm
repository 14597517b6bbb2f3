package PagiBridge::CGI::Watch;

use strict;
use warnings;

use PagiBridge::CGI::Kernel ();

=head1 NAME

PagiBridge::CGI::Watch - tells whether a script could as well have been compiled for another request

=head1 SYNOPSIS

    my $watch = PagiBridge::CGI::Watch->begin;
    ... a script is compiled ...
    my $why = $watch->end;      # '' or why it must be compiled for each request
    my @names = $watch->names;  # variables of the environment it has looked at
    my @files = $watch->files;  # [descriptor, flags, position] of those it keeps open

=head1 DESCRIPTION

Stands beside the compilation of a script and the C<BEGIN> blocks, C<use> statements and
constants that run with it. C<%ENV> is replaced by a tied hash meanwhile, which notes what is read;
the rest is found out by comparing before and after.

Descriptor 0 must be a pipe with one byte in it, 1 and 2 two others.

=cut

# A seed of the random numbers whose first one is known.
my $SEED = 20_110_614;

=head1 METHODS

=head2 begin

Begins to watch.

=cut

sub begin {
    my ($class, %option) = @_;
    my $self = bless {
        control  => $option{control},
        outputs  => join("\0", map { readlink "/proc/self/fd/$_" } 0 .. 2),
        children => reaped(),
        random   => first_random(),
        real     => \%ENV,
        watched  => {},
    }, $class;
    $self->{notes} = tie %{ $self->{watched} }, 'PagiBridge::CGI::Watch::Environment', $self->{real};
    *main::ENV = $self->{watched};
    watch_sockets();
    return $self;
}

my $sockets = 0;

# watch_sockets has calls of socket counted in all that is compiled from now on.
sub watch_sockets {
    no warnings 'once';
    *CORE::GLOBAL::socket = sub (*$$$) {
        $sockets++;
        return CORE::socket($_[0], $_[1], $_[2], $_[3]) if !defined $_[0] || ref $_[0] || ref \$_[0] eq 'GLOB';
        no strict 'refs';    # a name, of the caller's package
        my $name = $_[0] =~ /::|'/ ? $_[0] : caller() . "::$_[0]";
        return CORE::socket(*{$name}, $_[1], $_[2], $_[3]);
    };
    return;
}

sub first_random { srand $SEED; my $first = rand; srand $SEED; return $first }

=head2 end

Gives C<%ENV> back and returns why the result cannot be used for other requests, or
the empty string.

=cut

sub end {
    my ($self) = @_;
    my $held = $self->is_held;
    *main::ENV = $self->{real};
    flush_stdout();
    return 'it keeps a reference to %ENV, or has replaced it' if $held;
    return 'it lists all of %ENV' if $self->{notes}{all};
    return 'it has closed or redirected a standard handle'
        if $self->{outputs} ne join "\0", map { readlink("/proc/self/fd/$_") || '' } 0 .. 2;
    return 'it reads STDIN' if PagiBridge::CGI::Kernel::taste(0) != 1;
    return 'it starts processes' if waitpid(-1, 1) != -1 || reaped() ne $self->{children};
    return 'it starts threads' if entries('/proc/self/task') > 1;
    return 'it uses random numbers' if rand() != $self->{random};
    return 'it sets an alarm' if alarm 0;
    return 'it opens a socket' if $sockets;
    no warnings 'once';
    return 'it connects to a database' if $INC{'DBI.pm'} && %DBI::installed_drh;
    return $self->look_at_descriptors;
}

# is_held reports whether anything but this object and the name ENV leads to the tied
# hash, or the name does not.
sub is_held {
    my ($self) = @_;
    return 1 if Internals::SvREFCNT(%{ $self->{watched} }) != 2;
    return *main::ENV{HASH} != $self->{watched};
}

=head2 names

Returns the names of the variables that were read.

=cut

sub names { my ($self) = @_; return sort keys %{ $self->{notes}{read} } }

=head2 overrides($name)

Reports whether the script has itself said what the variable is; without a name, whether it
has of any.

=cut

sub overrides {
    my ($self, $name) = @_;
    my $notes = $self->{notes};
    return $notes->{cleared} || (defined $name ? $notes->{own}{$name} : %{ $notes->{own} } ? 1 : 0);
}

=head2 files

Returns what C<PagiBridge::CGI::Kernel::reopen> wants to know of each file that is open.

=cut

sub files { my ($self) = @_; return @{ $self->{files} } }

sub flush_stdout {
    my $selected = select STDOUT;
    my $auto     = $|;
    $| = 1;
    $| = $auto;
    select $selected;
    return;
}

# reaped returns a number that grows with every child that was waited for: the page
# faults of all of them.
sub reaped {
    open my $stat, '<', '/proc/self/stat' or return '';
    sysread $stat, my $text, 4096;
    return (split / /, substr $text, 2 + rindex $text, ')')[8];
}

sub entries {
    my ($directory) = @_;
    opendir my $dir, $directory or return 0;
    return scalar grep { !/\A[.]/ } readdir $dir;
}

# look_at_descriptors finds the files that are open besides the standard handles, and
# returns what is wrong with one of them.
sub look_at_descriptors {
    my ($self) = @_;
    opendir my $dir, '/proc/self/fd' or return "the descriptors cannot be listed: $!";
    my @all = grep { /\A[0-9]+\z/ && $_ > 2 && $_ != $self->{control} } readdir $dir;
    my $own = fileno $dir;
    closedir $dir;
    for my $descriptor (sort { $a <=> $b } @all) {
        next if defined $own && $descriptor == $own;
        my $target = readlink "/proc/self/fd/$descriptor";
        next if !defined $target || $target eq "/proc/$$/fd";    # the directory itself
        return "it opens a socket" if $target =~ /\Asocket:/;
        return "it keeps $target open" if !-f "/proc/self/fd/$descriptor";
        open my $info, '<', "/proc/self/fdinfo/$descriptor" or return "$target: $!";
        sysread $info, my $text, 4096;
        my ($position) = $text =~ /^pos:\s*([0-9]+)/m;
        my ($flags)    = $text =~ /^flags:\s*([0-7]+)/m;
        $flags = oct $flags;
        return "it keeps $target open for writing" if $flags & 3;
        return "it keeps $target locked" if $text =~ /^lock:/m;
        push @{ $self->{files} }, [ 0 + $descriptor, $flags, 0 + $position ];
    }
    $self->{files} ||= [];
    return '';
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
sub SCALAR  { my ($self) = @_; $self->{all} = 1; return scalar %{ $self->{real} } }

1;
