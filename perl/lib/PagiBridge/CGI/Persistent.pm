package PagiBridge::CGI::Persistent;

use strict;
use warnings;

use B                        ();
use PagiBridge::CGI::Kernel  ();
use PagiBridge::CGI::Restore ();

=head1 NAME

PagiBridge::CGI::Persistent - runs the same compiled CGI script for one request after another

=head1 SYNOPSIS

    PAGI_BRIDGE_NEXT: PagiBridge::CGI::Persistent::next_request();
    #line 1 "/srv/cgi-bin/script.cgi"
    ... the script ...
    ;PAGI_BRIDGE_END: PagiBridge::CGI::Persistent::end_request();
    goto PAGI_BRIDGE_NEXT;

=head1 DESCRIPTION

This is the main program that the gateway makes from a script. It leaves no scope at the end of
a run, so that a named subroutine goes on to see the same file-scoped lexicals as the rest of
the script. Between runs they get back the values with which the first run began. A run that
leaves a reference to one of them somewhere is the last of its process, and another process
takes its place.

Before each run C<%ENV> and the standard handles are made as for the first. After each run the
script's C<END> blocks run, and L<PagiBridge::CGI::Restore> puts back the rest, which it
describes. Package variables and C<state> variables stay as they are.

C<exit> ends the run and not the process. In a sort block and in a signal handler that is
impossible. There, and where the script dies, the process ends as perl would end it.

=cut

my @STANDARD = (\*STDIN, \*STDOUT, \*STDERR);

# Bits of the fifth byte of a request, and the length of the mark that follows it.
my ($WITH_INPUT, $WITH_OUTPUT) = (1, 2);
my $MARK = 26;

my ($file, $data, $socket, $watch);
my ($dup, $dup3, $close, $write, $fstat, $null, @pipes, @outputs, $with_input, $pristine, $plain, @last);
my $snapshot = '';
my ($worker, $status, $mark, @lexicals);
my (%environment, @layers);

=head1 FUNCTIONS

=head2 prepare($file, $data)

To be called before the script is compiled, with its name, and with the position at which
C<DATA> begins, if there is one.

=cut

sub prepare {
    ($file, $data) = @_;
    no warnings 'once';
    *CORE::GLOBAL::exit = \&leave;
    $0 = $file;
    PagiBridge::CGI::Restore::library(@INC);
    return;
}

# leave takes the place of exit.
sub leave {
    $status = @_ ? $_[0] : 0;
    CORE::exit($status) if !defined $worker || $$ != $worker;
    no warnings 'exiting';
    eval { goto PAGI_BRIDGE_END };    # fails in a sort block, for one
    CORE::exit($status);
}

=head2 begin($socket, $watch)

To be called in the process that answers requests, when the script is compiled. C<$socket> is
where requests come, C<$watch> is what has watched the compilation.

=cut

sub begin {
    ($socket, $watch) = @_;
    $socket = PagiBridge::CGI::Kernel::away($socket);
    ($dup, $dup3, $close, $write, $fstat, my $prctl) = PagiBridge::CGI::Kernel::numbers(qw(dup dup3 close write fstat prctl));
    open my $device, '+<', '/dev/null' or PagiBridge::CGI::Kernel::vanish(255);
    $null = PagiBridge::CGI::Kernel::away(fileno $device);
    close $device;
    syscall $dup3, $null, $_, 0 for 0 .. 2;    # nothing reads the pipes of the compilation any more
    syscall $prctl, 36, 1, 0, 0, 0;            # PR_SET_CHILD_SUBREAPER: all that a run leaves behind are children
    $worker      = $$;
    %environment = %ENV;
    @layers      = map { layers($_) } @STANDARD;
    find_lexicals();
    $_->[2] = count($_->[0]) for @lexicals;    # now that the search holds none
    PagiBridge::CGI::Restore::note($file, $socket, $null);
    look_at_handles();
    # Only ASCII, as the mark is, comes through these layers as it is.
    $plain = $layers[1] =~ /\A(?::utf8|:encoding\(utf-?8(?:-strict)?\))?\z/i;
    return;
}

# layers returns the argument of binmode that gives a handle its layers back.
sub layers {
    my ($handle) = @_;
    my @all = PerlIO::get_layers($handle);
    return '' if @all == 2 && $all[1] eq 'perlio';
    @all = grep { !/\A(?:unix|perlio)\z/ } @all;
    pop @all if @all > 1 && $all[-1] eq 'utf8';    # a flag of the one before it
    return join '', map {":$_"} @all;
}

# find_lexicals notes the file-scoped lexicals of the main program and their values.
sub find_lexicals {
    my ($names, $pad) = map { $_->can('ARRAY') ? [ $_->ARRAY ] : [] } (B::main_cv()->PADLIST->ARRAY)[0, 1];
    my ($last, @found) = 0;
    for my $index (1 .. $#{$names}) {
        my $name = $names->[$index];
        next if !$name->can('COP_SEQ_RANGE_HIGH') || $name->FLAGS & 2 || $name->FLAGS & 16;    # state, our
        my ($end, $text) = ($name->COP_SEQ_RANGE_HIGH, $name->can('PVX') && $name->PVX);
        next if !defined $text || $text !~ /\A[\$\@%]/ || !$pad->[$index] || !$pad->[$index]->can('object_2svref');
        $last = $end if $end > $last;
        push @found, [ $end, $pad->[$index]->object_2svref ];
    }
    for my $lexical (map { $_->[1] } grep { $_->[0] == $last } @found) {
        my $value = ref $lexical eq 'ARRAY' ? [@$lexical] : ref $lexical eq 'HASH' ? {%$lexical} : [$$lexical];
        push @lexicals, [ $lexical, $value ];
    }
    return;
}

sub count {
    my ($lexical) = @_;
    return Internals::SvREFCNT(@$lexical) if ref $lexical eq 'ARRAY';
    return Internals::SvREFCNT(%$lexical) if ref $lexical eq 'HASH';
    return Internals::SvREFCNT($$lexical);
}

=head2 next_request

Returns when there is a request. At the end the process exits.

=cut

sub next_request {
    my ($text, @given) = PagiBridge::CGI::Kernel::take($socket) or retire();
    my ($flags, $given_mark, @variables) = parse($text) or PagiBridge::CGI::Kernel::vanish();
    $with_input = $flags & $WITH_INPUT;
    my @numbers = (($with_input ? 0 : ()), ($flags & $WITH_OUTPUT ? (1, 2) : ()));
    PagiBridge::CGI::Kernel::vanish() if @given != @numbers;
    for my $number (@numbers) {
        my $is = shift @given;
        syscall $dup3,  $is, $number, 0;
        syscall $close, $is;
    }
    if ($flags & $WITH_OUTPUT) {
        @pipes   = map { descriptor($_) } 1, 2;
        @outputs = map { identity($_) } 1, 2;
    }
    open_standard() if $with_input;
    $mark = $given_mark;
    set_environment(@variables);
    if (defined $data) {
        open main::DATA, '<', $file;
        seek main::DATA, $data, 0;
        PagiBridge::CGI::Restore::forget_input();
    }
    ($status, $^T) = (0, time);
    srand unpack 'L', $text;
    ($@, $!, $?) = ('', 0, 0);
    return;
}

# parse takes a request apart: flags, mark, variables. The seed is its first four bytes. For a text that is no request it
# returns nothing. F<bridge/cgi/perlfork/PROTOCOL.md> describes requests.
sub parse {
    my ($text) = @_;
    return if length $text < 5 + $MARK || length $text > 5 + $MARK && substr($text, -1) ne "\0";
    my ($flags, $own) = unpack "x4 C a$MARK", $text;
    return if $flags > ($WITH_INPUT | $WITH_OUTPUT) || $own =~ tr/A-Z2-7//c;
    return $flags, $own, split /\0/, substr $text, 5 + $MARK;
}

# open_standard makes new handles for the descriptors 0 to 2, or only for 0 where the other
# handles are unchanged.
sub open_standard {
    for my $number ($pristine ? 0 : (0 .. 2)) {
        my $copy = syscall $dup, $number;
        close $STANDARD[$number];
        syscall $dup3,  $copy, $number, 0;
        syscall $close, $copy;
        open $STANDARD[$number], ($number ? '>&=' : '<&='), $number;
        binmode $STANDARD[$number], $layers[$number] if $layers[$number] ne '';
    }
    PagiBridge::CGI::Restore::flush_errors() if !$pristine;
    return;
}

# descriptor returns the name of the file on which a descriptor is open.
sub descriptor { return readlink("/proc/self/fd/$_[0]") || '' }

# identity returns the device and the inode of the file on which a descriptor is open, as text. They are the first fields of the
# kernel's struct stat, of eight bytes each.
sub identity {
    my ($number) = @_;
    my $about = "\0" x 256;
    return syscall($fstat, $number, $about) < 0 ? '' : substr $about, 0, 16;
}

# look_at_handles sets $pristine to whether the standard handles are as perl made them. It
# returns whether the descriptors for output are.
sub look_at_handles {
    $pristine = 1;
    for my $number (0 .. 2) {
        my $handle = $STANDARD[$number];
        untie *$handle if tied *$handle;
        my $is = fileno $handle;
        $pristine = 0 if !defined $is || $is != $number || $layers[$number] ne layers($handle);
    }
    return identity(1) eq $outputs[0] && identity(2) eq $outputs[1] if @pipes;
    return 1;
}

# set_environment fills %ENV with the variables of a request besides those that all requests
# have. Most are those of the request before, and few scripts change %ENV.
sub set_environment {
    if (@_ == @last && join("\0", %ENV) eq $snapshot) {
        my @changed = grep { $_[$_] ne $last[$_] } 0 .. $#_;
        return if !@changed;
        if (my @values = other_values(\@changed, \@last, \@_)) {
            while (my ($name, $value) = splice @values, 0, 2) {
                $ENV{$name} = $value if !$watch->overrides($name);
            }
            @last     = @_;
            $snapshot = join "\0", %ENV;
            return;
        }
    }
    my %want = %environment;
    for my $variable (@_) {
        my ($name, $value) = split /=/, $variable, 2;
        next if $watch->overrides($name);
        if (defined $value) { $want{$name} = $value }
        else { delete $want{$name} }
    }
    for my $name (keys %want) {
        my $is = $ENV{$name};
        $ENV{$name} = $want{$name} if !defined $is || $is ne $want{$name};
    }
    delete @ENV{ grep { !exists $want{$_} } keys %ENV } if keys %ENV > keys %want;
    @last     = @_;
    $snapshot = join "\0", %ENV;
    return;
}

# other_values returns the names and values of the variables at these indexes. If another variable was there in the last
# request, or one of them has no value, it returns nothing.
sub other_values {
    my ($indexes, $then, $now) = @_;
    my @values;
    for my $at (@$indexes) {
        my ($name, $value) = split /=/, $now->[$at], 2;
        return if !defined $value || index($then->[$at], "$name=") != 0;
        push @values, $name, $value;
    }
    return @values;
}

=head2 end_request

Ends a run. The remaining code of the script runs first: C<END> blocks, and the destructors and
ties that putting back its variables sets off. Then the process writes the mark of the request
behind its output, with the status with which it would have ended, in three digits. From then
on it only waits.

A process that cannot be put back into its first state, that has children left or another
STDOUT, ends instead, as it would without this module.

=cut

sub end_request {
    CORE::exit($status) if $$ != $worker;    # a child that the script has forked
    my $code = PagiBridge::CGI::Restore::run_ends($status);
    close main::DATA if defined $data;
    my $reusable = eval {    # a destructor may die, or a constant refuse
        PagiBridge::CGI::Restore::flush();
        take_back_lexicals() && PagiBridge::CGI::Restore::tidy(@pipes);
    };
    $reusable = 0 if !look_at_handles() || has_children();
    if (!$reusable || !eval { PagiBridge::CGI::Restore::restore() }) {
        PagiBridge::CGI::Restore::finish($code);
    }
    end_output(sprintf '%s%03d', $mark, $code);
    return;
}

# has_children reports whether a process that this run has started is still alive.
sub has_children {
    local ($?, $!);
    while ((my $pid = waitpid -1, 1) >= 0) {    # WNOHANG
        return 1 if !$pid;
    }
    return 0;
}

# end_output writes the rest of the output and then the mark. The handles stay, unless the
# script has done something to them.
sub end_output {
    my ($last) = @_;
    my $fits = $pristine && $plain;
    if ($pristine) {
        my $selected = select;
        for my $handle ($layers[2] eq '' ? () : \*STDERR, \*STDOUT) {
            select $handle;
            my $auto = $|;
            $| = 0;
            print {$handle} $last if $fits && $handle == \*STDOUT;
            $| = 1;    # flushes
            $| = $auto;
        }
        select $selected;
    }
    else { open_standard() }
    syscall $write, 1, $last, length $last if !$fits;
    if ($with_input || !$pristine) {
        syscall $dup3, $null, 0, 0;
        open_standard();
        $pristine = 1;
    }
    return;
}

# take_back_lexicals gives the lexicals their first values, and reports whether no reference to one was kept.
sub take_back_lexicals {
    for (@lexicals) {
        my ($lexical, $value) = @$_;
        untie_lexical($lexical);
        if (ref $lexical eq 'ARRAY')   { @$lexical = @$value }
        elsif (ref $lexical eq 'HASH') { %$lexical = %$value }
        else                           { $$lexical = $value->[0] }
    }
    for (@lexicals) {
        return 0 if count($_->[0]) > $_->[2];
    }
    return 1;
}

sub untie_lexical {
    my ($lexical) = @_;
    if (ref $lexical eq 'ARRAY')   { untie @$lexical if tied @$lexical }
    elsif (ref $lexical eq 'HASH') { untie %$lexical if tied %$lexical }
    elsif (tied $$lexical)         { untie $$lexical }
    return;
}

# retire ends a process that waits for a request. No client is left for what the process still
# prints.
sub retire {
    syscall $dup3, $null, $_, 0 for 1, 2;
    PagiBridge::CGI::Restore::finish(0);
    return;
}

1;
