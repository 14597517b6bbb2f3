package PagiBridge::CGI::Restore;

use strict;
use warnings;

use B                            ();
use PagiBridge::CGI::Descriptors ();
use PagiBridge::CGI::Destructors ();
use PagiBridge::CGI::Kernel      ();

=head1 NAME

PagiBridge::CGI::Restore - puts back what one run of a persistent CGI script has changed

=head1 SYNOPSIS

    PagiBridge::CGI::Restore::library(@INC);              # before the script is compiled
    PagiBridge::CGI::Restore::note($file, @descriptors);  # before the first run
    ... a run ...
    my $clean = PagiBridge::CGI::Restore::tidy(@pipes)    # before its output ends
        && PagiBridge::CGI::Restore::restore();

=head1 DESCRIPTION

A process that is started begins in a known state, and its changes end with it. This module
gives a process that runs a script again and again the same state before each run. C<tidy> or
C<restore> returns false for a change that cannot be undone or could show in another client's
answer. Such a process must end, as it would under C<exec>.

The copy that perl reads has no C<use> and C<no> of pragmas, and C<$^W> may be set: what would be a
warning of a function here is turned off by both.

C<tidy> and C<restore> are called while the output of the run can still be written. Closing a
handle, or putting a variable back, may run code of the script: a destructor, a tied variable,
the flushing of a handle.

=cut

my ($SIG_SETMASK, $LC_ALL, $F_SETFD, $F_SETFL) = (2, 6, 2, 4);

# The timers besides that of alarm: ITIMER_VIRTUAL and ITIMER_PROF.
my @TIMERS = (1, 2);

# The variables of CGI.pm that its own initialize_globals does not set.
my @CGI = qw(XHTML DEFAULT_DTD NOSTICKY NPH DEBUG TABINDEX CLOSE_UPLOAD_FILES HEADERS_ONCE USE_PARAM_SEMICOLONS
    NO_UNDEF_PARAMS PARAM_UTF8 PUTDATA_UPLOAD APPEND_QUERY_STRING POST_MAX DISABLE_UPLOADS LIST_CONTEXT_WARN);

my @OUTPUTS = (\*STDOUT, \*STDERR);
my $NO_TIME = pack 'q4', (0) x 4;

my ($file, @library, $directory);
my ($umask, $warnings, $system_handles, $in_place, $priority, $user, $selected, $locale, @include, @formats, %cgi);
my (@signals, @handlers, $dispositions, $mask);
my ($fcntl, $setitimer, $sigprocmask);
my (@ends, $ends, $made, %known, %ran);                # END blocks: the script's, how many there are
my (@left, $ending);                                   # those that are still to run, and whether they do

=head1 FUNCTIONS

=head2 library(@directories)

Says where perl's own modules are, which are trusted not to print in a destructor.

=cut

sub library { @library = @_; return }

=head2 note($script, @descriptors)

Notes the state with which runs begin. C<@descriptors> are those that the process has besides
the standard ones.

=cut

sub note {
    ($file, my @own) = @_;
    ($fcntl, $setitimer, $sigprocmask) = PagiBridge::CGI::Kernel::numbers(qw(fcntl setitimer rt_sigprocmask));
    ($umask, $directory) = (umask, readlink '/proc/self/cwd');
    ($warnings, $system_handles, $in_place) = ($^W, $^F, $^I);
    ($priority, $user) = (getpriority(0, 0), ids());
    @include  = @INC;
    @signals  = ('__DIE__', '__WARN__', sort keys %SIG);
    @handlers = @SIG{@signals};
    $dispositions = dispositions();
    $mask     = "\0" x 8;
    syscall $sigprocmask, $SIG_SETMASK, 0, $mask, 8;
    $selected = select;
    for my $handle (@OUTPUTS) {
        select $handle;
        push @formats, [ $|, $~, $^, $= ];
    }
    select $selected;
    $locale = POSIX::setlocale($LC_ALL) if $INC{'POSIX.pm'};
    note_cgi() if $INC{'CGI.pm'};
    PagiBridge::CGI::Descriptors::note(@own);
    note_ends();
    PagiBridge::CGI::Destructors::watch(\&is_harmless);
    PagiBridge::CGI::Destructors::found();
    return;
}

sub ids { return join ' ', $<, $>, $(, $) }

sub note_cgi {
    no strict 'refs';
    %cgi = map { $_ => ${"CGI::$_"} } @CGI;
    return;
}

=head2 flush

Writes the buffers of the run's handles, in the order in which perl does that after the C<END>
blocks. To be called at that time.

=cut

sub flush {
    PagiBridge::CGI::Descriptors::flush() if PagiBridge::CGI::Descriptors::look();
    return;
}

=head2 tidy(@pipes)

Closes what the run has left open and stops its timers. Returns false if the process must end;
the pipes, by the names that F</proc> gives them, must not be open another time.

=cut

sub tidy {
    my %pipe = map { $_ => 1 } @_;
    alarm 0;
    syscall $setitimer, $_, $NO_TIME, 0 for @TIMERS;
    my $open = PagiBridge::CGI::Descriptors::look();
    if ($open > 0) {
        close_handles();
        $open = PagiBridge::CGI::Descriptors::look();
    }
    return 0 if $open < 0 || $open && !are_harmless(\%pipe);
    return 0 if PagiBridge::CGI::Descriptors::beyond();
    # Standard handles stay open in programs, and wait.
    syscall $fcntl, $_, $F_SETFD, 0 for 0 .. 2;
    syscall $fcntl, $_, $F_SETFL, 0 for 1, 2;
    return 0 if ids() ne $user;
    return chdir $directory;
}

# close_handles closes the handles with a name in package main, as the end of the process
# would. It warns as perl does then.
sub close_handles {
    local $^W = 0;
    no warnings;
    my %standard = map { $_ => 1 } *STDIN{IO}, *STDOUT{IO}, *STDERR{IO};
    for my $glob (grep { ref \$_ eq 'GLOB' } values %main::) {
        my $io = *{$glob}{IO};
        next if !$io || $standard{$io};
        untie *{$glob};
        if (defined fileno $io && !close $io && $! && !closedir $io) {
            print STDERR "Warning: unable to close filehandle properly: $! during global destruction.\n";
        }
    }
    return;
}

# are_harmless reports whether the open descriptors may stay open: sockets, and unlocked files
# that are only read. A file that is written must be closed at the end of the process, and
# closing it can fail. No descriptor may lead to a client.
sub are_harmless {
    my ($pipe) = @_;
    for my $number (PagiBridge::CGI::Descriptors::found()) {
        my $target = readlink "/proc/self/fd/$number";
        return 0 if !defined $target || $pipe->{$target};
        open my $info, '<', "/proc/self/fdinfo/$number" or return 0;
        sysread $info, my $text, 4096;
        close $info;
        return 0 if $text =~ /^lock:/m;
        return 0 if $text =~ /^flags:\s*[0-7]*[1-35-7]$/m && $target !~ /\Asocket:/;    # O_WRONLY or O_RDWR
    }
    return 1;
}

=head2 restore

Puts back variables, handlers and the settings of the process. Returns false if that is not
possible, or if an object that the run has left behind could print in the next run.

=cut

sub restore {
    my $possible = restore_process();
    restore_handlers() if dispositions() ne $dispositions;
    my $then = $mask;
    syscall $sigprocmask, $SIG_SETMASK, $then, 0, 8;
    @INC  = @include if join("\0", @INC) ne join "\0", @include;
    @ARGV = ();
    $0    = $file if $0 ne $file;
    ($/, $\, $,, $", $;, $^W, $:, $^L, $^A) = ("\n", undef, undef, ' ', "\034", $warnings, " \n-", "\f", '');
    ($^F, $^I) = ($system_handles, $in_place);
    undef $_;
    restore_cgi();
    forget_input();
    for my $at (0, 1) {
        select $OUTPUTS[$at];
        package main;    # whose formats the names are of
        ($|, $~, $^, $=) = @{ $formats[$at] };
        ($-, $%) = (0, 0);
    }
    select $selected;
    return $possible && !$made && !PagiBridge::CGI::Destructors::found();
}

# dispositions joins the values of %SIG into one text. They are undefined until they are set.
sub dispositions { local $^W = 0; no warnings 'uninitialized'; return join "\0", @SIG{@signals} }

sub restore_handlers {
    for my $at (0 .. $#signals) {
        my ($name, $was) = ($signals[$at], $handlers[$at]);
        if    (defined $was)        { $SIG{$name} = $was }
        elsif ($name =~ /\A__/)     { delete $SIG{$name} }
        elsif (defined $SIG{$name}) { $SIG{$name} = 'DEFAULT' }
    }
    $dispositions = dispositions();    # DEFAULT is as good as undefined
    return;
}

# restore_process puts back the settings that the kernel and the C library keep for the
# process.
sub restore_process {
    umask $umask;
    if (getpriority(0, 0) != $priority) {
        setpriority 0, 0, $priority;
        return 0 if getpriority(0, 0) != $priority;
    }
    if ($INC{'POSIX.pm'}) {
        my $is = POSIX::setlocale($LC_ALL);
        # If a run has loaded POSIX itself, the locale before it is what perl makes of the environment
        # when it is started.
        $locale = POSIX::setlocale($LC_ALL, '') if !defined $locale;
        POSIX::setlocale($LC_ALL, $locale) if defined $locale && (!defined $is || $is ne $locale);
    }
    return 1;
}

=head2 flush_errors

To be called when STDERR was opened anew. Perl then buffers it, unlike at the start of a
program.

=cut

sub flush_errors {
    my $was = select STDERR;
    $| = $formats[1][0] = 1;
    select $was;
    return;
}

=head2 forget_input

Detaches C<$.> from all handles, as it is at the start of a program.

=cut

sub forget_input {
    local $^W = 0;
    no warnings;
    {
        my $none = \do { local *NONE };
        my $at   = tell $none;    # the last handle that was used goes at once
    }
    undef $.;
    return;
}

sub restore_cgi {
    if ($INC{'CGI.pm'}) {
        CGI::initialize_globals();
        if (!%cgi) {            # this run has loaded it
            note_cgi();
            $cgi{LIST_CONTEXT_WARN} &&= 1;    # CGI.pm adds one with its only warning
        }
        no strict 'refs';
        ${"CGI::$_"} = $cgi{$_} for @CGI;
    }
    if ($INC{'CGI/Carp.pm'}) {
        no warnings 'once';
        ($CGI::Carp::EMIT_WARNINGS, @CGI::Carp::WARNINGS) = (0);
    }
    return;
}

=head2 run_ends($status)

Runs the C<END> blocks of the script and those that the run has made, in perl's order. Returns
the status with which the process would end. The blocks of modules wait for the end of the
process. After a block that calls C<exit>, which comes here once more, and after one that dies, the next
ones run.

=cut

sub run_ends {
    local $? = shift;
    @left = $ends == count_ends() ? @ends : look_for_ends() if !$ending;
    $ending = 1;
    while (my $block = shift @left) {
        $ran{$$block} = 1;
        run_end($block->object_2svref);
    }
    $ending = 0;
    return $? & 255;
}

# run_end runs a block. Perl ends with the same status if one dies.
sub run_end {
    my ($code) = @_;
    local $@;
    return if eval { $code->(); 1 };
    $? = $! & 255 || $? >> 8 & 255 || 255;
    print STDERR $@, "END failed--call queue aborted.\n";
    return;
}

sub note_ends {
    my @all = end_blocks();
    @ends  = grep { $_->FILE eq $file } @all;
    %known = map { $$_ => 1 } @all;
    %ran   = map { $$_ => 1 } @ends;    # a process without any run does not run them
    $ends  = @all;
    return;
}

# look_for_ends returns the END blocks that a run has made, by a string eval or in a file of
# the script. Such a process cannot go on, because perl keeps these blocks.
sub look_for_ends {
    my @own;
    for my $block (end_blocks()) {
        my $is_new = !$known{$$block}++;
        next if $block->FILE ne $file && (!$is_new || is_library($block->FILE));
        push @own, $block;
        $made = 1 if $is_new;
    }
    $ends = count_ends();
    return @own;
}

sub end_blocks { my $blocks = B::end_av(); return $blocks->can('ARRAY') ? $blocks->ARRAY    : () }
sub count_ends { my $blocks = B::end_av(); return $blocks->can('FILL')  ? 1 + $blocks->FILL : 0 }

=head2 finish($code)

Ends the process as perl ends one, with this status. The C<END> blocks that C<run_ends> has run are
not run again.

=cut

sub finish {
    my ($code) = @_;
    my $blocks = B::end_av();
    if ($blocks->can('ARRAY')) {
        my @all   = $blocks->ARRAY;
        my $array = $blocks->object_2svref;
        for my $at (reverse 0 .. $#all) {
            splice @{$array}, $at, 1 if $ran{ ${ $all[$at] } };
        }
    }
    CORE::exit($code);
}

sub is_library {
    my ($from) = @_;
    return defined $from && !!grep { index($from, "$_/") == 0 } @library;
}

# is_harmless reports whether a destructor cannot print into the answer to another client.
sub is_harmless {
    my $code = B::svref_2object($_[0]);
    return $code->XSUB || is_library($code->FILE);
}

1;
