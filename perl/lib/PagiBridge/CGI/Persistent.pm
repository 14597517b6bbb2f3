package PagiBridge::CGI::Persistent;

use strict;
use warnings;

use B                       ();
use PagiBridge::CGI::Kernel ();

=head1 NAME

PagiBridge::CGI::Persistent - runs the same compiled CGI script for one request after another

=head1 SYNOPSIS

    PAGI_BRIDGE_NEXT: PagiBridge::CGI::Persistent::next_request();
    #line 1 "/srv/cgi-bin/script.cgi"
    ... the script ...
    ;PAGI_BRIDGE_END: PagiBridge::CGI::Persistent::end_request();
    goto PAGI_BRIDGE_NEXT;

=head1 DESCRIPTION

This is the main program, which the gateway makes of a script. It leaves no scope at the end
of a run, so that a named subroutine goes on to see the same file-scoped lexicals as the rest;
they are given back the values of the first run in between. A run that has left a
reference to one of them somewhere is the last of its process: another one takes its place.

Before each run C<%ENV>, the standard handles, C<@ARGV>, C<@INC>, C<$0>, the working directory,
the umask, signal handlers, an alarm, the special variables and the globals of CGI.pm and CGI::Carp
are made as for the first; after it the script's C<END> blocks are run. Package variables
and C<state> stay as they are.

C<exit> ends the run and not the process. Where that cannot be, in a sort block or a
signal handler, and where the script dies, the process ends as perl would have it end.

=cut

# What a script may leave behind, and how it is found at the beginning.
my @SIGNALS = qw(__DIE__ __WARN__ ALRM CHLD HUP INT PIPE QUIT TERM USR1 USR2);
my @CGI     = qw(XHTML DEFAULT_DTD NOSTICKY NPH DEBUG TABINDEX CLOSE_UPLOAD_FILES HEADERS_ONCE USE_PARAM_SEMICOLONS
    NO_UNDEF_PARAMS PARAM_UTF8 PUTDATA_UPLOAD APPEND_QUERY_STRING POST_MAX DISABLE_UPLOADS LIST_CONTEXT_WARN);

my @STANDARD = (\*STDIN, \*STDOUT, \*STDERR);

# Bits of the fifth byte of a request, and where what follows it begins.
my ($WITH_INPUT, $WITH_OUTPUT) = (1, 2);
my $MARK = 26;

my ($file, $data, $socket, $watch);
my ($dup, $dup3, $close, $write, $null, @pipes, $with_input, $pristine, $plain, @last);
my $snapshot = '';
my ($worker, $status, $mark, $directory, $umask, $warnings, @ends, @lexicals);
my (%environment, @library, %signal, %cgi, @layers);

=head1 FUNCTIONS

=head2 prepare($file, $data)

To be called before the script is compiled: its name, and where in it C<DATA> begins, if there
is one.

=cut

sub prepare {
    ($file, $data) = @_;
    no warnings 'once';
    *CORE::GLOBAL::exit = \&leave;
    $0 = $file;
    return;
}

# leave stands for exit.
sub leave {
    $status = @_ ? $_[0] : 0;
    CORE::exit($status) if !defined $worker || $$ != $worker;
    no warnings 'exiting';
    eval { goto PAGI_BRIDGE_END };    # fails in a sort block, for one
    CORE::exit($status);
}

=head2 begin($socket, $watch)

To be called in the process that is to answer requests, when the script is compiled: the socket at
which they come, and what has watched it.

=cut

sub begin {
    ($socket, $watch) = @_;
    $socket = PagiBridge::CGI::Kernel::away($socket);
    ($worker, $umask, $warnings, $directory) = ($$, umask, $^W, readlink '/proc/self/cwd');
    %environment = %ENV;
    @library     = @INC;
    %signal      = map { $_ => $SIG{$_} } @SIGNALS;
    @layers      = map { layers($_) } @STANDARD;
    note_cgi() if $INC{'CGI.pm'};
    ($dup, $dup3, $close, $write, my $prctl) = PagiBridge::CGI::Kernel::numbers(qw(dup dup3 close write prctl));
    syscall $prctl, 36, 1, 0, 0, 0;    # PR_SET_CHILD_SUBREAPER: all that a run leaves behind are children
    find_lexicals();
    $_->[2] = count($_->[0]) for @lexicals;    # now that the search holds none
    my $ends = B::end_av();
    @ends = map { [ $_->FILE eq $file, $_->object_2svref ] } $ends->ARRAY if $ends->can('ARRAY');
    open my $device, '+<', '/dev/null' or quit(255);
    $null = PagiBridge::CGI::Kernel::away(fileno $device);
    close $device;
    syscall $dup3, $null, 0, 0;
    look_at_handles();
    # Only ASCII, as the mark is, comes through these layers as it is.
    $plain = $layers[1] =~ /\A(?::utf8|:encoding\(utf-?8(?:-strict)?\))?\z/i;
    return;
}

sub note_cgi {
    no strict 'refs';
    %cgi = map { $_ => ${"CGI::$_"} } @CGI;
    return;
}

# layers returns what binmode must be told to give a handle its layers back.
sub layers {
    my ($handle) = @_;
    my @all = PerlIO::get_layers($handle);
    return '' if @all == 2 && $all[1] eq 'perlio';
    @all = grep { !/\A(?:unix|perlio)\z/ } @all;
    pop @all if @all > 1 && $all[-1] eq 'utf8';    # a flag of the one before it
    return join '', map {":$_"} @all;
}

# find_lexicals notes the file-scoped lexicals of the main program, each with its value.
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
    my ($text, @given) = PagiBridge::CGI::Kernel::take($socket) or quit(0);
    my $flags = ord substr $text, 4, 1;
    $with_input = $flags & $WITH_INPUT;
    my @numbers = (($with_input ? 0 : ()), ($flags & $WITH_OUTPUT ? (1, 2) : ()));
    PagiBridge::CGI::Kernel::vanish() if @given != @numbers;
    for my $number (@numbers) {
        my $is = shift @given;
        syscall $dup3,  $is, $number, 0;
        syscall $close, $is;
    }
    @pipes = map { descriptor($_) } 1, 2 if $flags & $WITH_OUTPUT;
    open_standard() if $with_input;
    $mark = substr $text, 5, $MARK;
    set_environment(split /\0/, substr $text, 5 + $MARK);
    if (defined $data) {
        open main::DATA, '<', $file;
        seek main::DATA, $data, 0;
    }
    ($status, $^T) = (0, time);
    srand unpack 'L', $text;
    ($@, $!, $?) = ('', 0, 0);
    return;
}

# open_standard makes new handles of descriptors 0 to 2, of the first alone where the others
# are as they were.
sub open_standard {
    for my $number ($pristine ? 0 : (0 .. 2)) {
        my $copy = syscall $dup, $number;
        close $STANDARD[$number];
        syscall $dup3,  $copy, $number, 0;
        syscall $close, $copy;
        open $STANDARD[$number], ($number ? '>&=' : '<&='), $number;
        binmode $STANDARD[$number], $layers[$number] if $layers[$number] ne '';
    }
    return if $pristine;
    select STDERR;
    $| = 1;
    select STDOUT;
    $| = 0;
    return;
}

# descriptor returns what a descriptor is open on.
sub descriptor { return readlink("/proc/self/fd/$_[0]") || '' }

# look_at_handles sets $pristine: the standard handles are as perl made them. It reports
# whether the descriptors for output are.
sub look_at_handles {
    $pristine = 1;
    for my $number (0 .. 2) {
        my $handle = $STANDARD[$number];
        untie *$handle if tied *$handle;
        my $is = fileno $handle;
        $pristine = 0 if !defined $is || $is != $number || $layers[$number] ne layers($handle);
    }
    return descriptor(1) eq $pipes[0] && descriptor(2) eq $pipes[1] if @pipes;
    return 1;
}

# set_environment makes %ENV of the variables a request has besides those it always has. Most
# are those of the request before, and few scripts change %ENV.
sub set_environment {
    if (@_ == @last && join("\0", %ENV) eq $snapshot) {
        my @changed = grep { $_[$_] ne $last[$_] } 0 .. $#_;
        return if !@changed;
        my @names = map { [ /\A([^=]*)=/, $last[$_] =~ /\A([^=]*)=/ ] } @changed;
        if (!grep { @$_ != 2 || $_->[0] ne $_->[1] } @names) {
            for my $at (@changed) {
                my ($name, $value) = split /=/, $_[$at], 2;
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

=head2 end_request

Ends a run: behind its output it writes the mark of the request and the status that the
process would have ended with, three digits. Then it takes back what the run has changed, while
nobody waits. A process that cannot do that, that has children left or another STDOUT, ends instead, as
it would without any of this.

=cut

sub end_request {
    CORE::exit($status) if $$ != $worker;    # a child that the script has forked
    my $code = $status;
    {
        local $? = $code;
        $_->[1]->() for grep { $_->[0] } @ends;
        $code = $? & 255;
    }
    alarm 0;
    my $reusable = eval { take_back_lexicals() };    # a destructor may die, or a constant refuse
    $reusable = 0 if !look_at_handles() || has_children() || !chdir $directory;
    quit($code) if !$reusable;
    end_output(sprintf '%s%03d', $mark, $code);
    take_back();
    return;
}

# has_children reports whether any process lives that this run has started.
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
        local ($\, $,);
        for my $handle ($layers[2] eq '' ? () : \*STDERR, \*STDOUT) {
            select $handle;
            $| = 0;
            print {$handle} $last if $fits && $handle == \*STDOUT;
            $| = 1;    # flushes
        }
        $| = 0;
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

# take_back_lexicals reports whether nobody has kept a reference to one.
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

sub take_back {
    for my $name (@SIGNALS) {
        my ($is, $was) = ($SIG{$name}, $signal{$name});
        next if defined $is ? defined $was && $is eq $was : !defined $was;
        if (defined $was || $name !~ /\A_/) { $SIG{$name} = defined $was ? $was : 'DEFAULT' }
        else { delete $SIG{$name} }
    }
    @INC = @library if join("\0", @INC) ne join "\0", @library;
    @ARGV = ();
    umask $umask;
    $0 = $file if $0 ne $file;
    ($/, $\, $,, $", $;, $^W) = ("\n", undef, undef, ' ', "\034", $warnings);
    undef $_;
    if ($INC{'CGI.pm'}) {
        CGI::initialize_globals();
        note_cgi() if !%cgi;    # this run has loaded it
        no strict 'refs';
        ${"CGI::$_"} = $cgi{$_} for @CGI;
    }
    if ($INC{'CGI/Carp.pm'}) {
        no warnings 'once';
        ($CGI::Carp::EMIT_WARNINGS, @CGI::Carp::WARNINGS) = (0);
    }
    return;
}

# quit ends the process with this status. The script's END blocks have run; those of
# modules have not.
sub quit {
    my ($code) = @_;
    $_->[1]->() for grep { !$_->[0] } @ends;
    close $_ for @STANDARD;
    PagiBridge::CGI::Kernel::vanish($code);
    return;
}

1;
