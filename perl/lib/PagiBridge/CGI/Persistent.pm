package PagiBridge::CGI::Persistent;

# evaluate stands above every variable of this file and without strictures, so that the
# script sees nothing of either.
sub evaluate {
    ## no critic (ProhibitNoStrict ProhibitNoWarnings ProhibitStringyEval RequireFinalReturn)
    eval $_[0];
}

use strict;
use warnings;

use PagiBridge::CGI::Kernel ();

=head1 NAME

PagiBridge::CGI::Persistent - runs the same compiled CGI script for one request after another

=head1 SYNOPSIS

    PagiBridge::CGI::Persistent::compile('/srv/cgi-bin/script.cgi') or die $@;
    PagiBridge::CGI::Persistent::work($socket);    # in a process of its own; does not return

=head1 DESCRIPTION

A script becomes a subroutine in package C<main> of a process that runs nothing else. Before
each run C<%ENV>, the standard handles, C<@ARGV>, C<@INC>, C<$0>, the working directory, the umask,
signal handlers, an alarm, the special variables and the globals of CGI.pm and CGI::Carp are made as
for the first; after it the script's C<END> blocks are run. Its own package variables stay as they
are, and so do file-scoped lexicals that a named subroutine refers to.

C<exit> ends the run and not the process. Where that cannot be, in a sort block or a
signal handler, and where the script dies, the process ends as perl would have it end: another takes its place.

=cut

# What a script may leave behind, and how it is found at the beginning.
my @SIGNALS = qw(__DIE__ __WARN__ ALRM CHLD HUP INT PIPE QUIT TERM USR1 USR2);
my @CGI     = qw(XHTML DEFAULT_DTD NOSTICKY NPH DEBUG TABINDEX CLOSE_UPLOAD_FILES HEADERS_ONCE USE_PARAM_SEMICOLONS
    NO_UNDEF_PARAMS PARAM_UTF8 PUTDATA_UPLOAD APPEND_QUERY_STRING POST_MAX DISABLE_UPLOADS);

my ($file, $directory, $data, $ends, $worker, $status);
my (%environment, @library, %signal, %cgi, $umask, $warnings);

=head1 FUNCTIONS

=head2 compile($file)

Returns false where that fails; perl's message is in C<$@>.

=cut

sub compile {
    ($file) = @_;
    die "a quote in the name of the file\n" if $file =~ /["\n]/;
    ($directory) = $file =~ m{\A(.*)/}s;
    open my $in, '<', $file or die "$file: $!\n";
    my $source = do { local $/; <$in> };
    close $in;
    if ($source =~ /^__(?:END|DATA)__(?:\n|\z)/m) {
        $data   = $+[0];
        $source = substr $source, 0, $-[0];
    }
    $ends = $source =~ /^\s*(?:sub\s+)?END\b/m;
    no warnings 'once';
    *CORE::GLOBAL::exit = \&leave;
    $0 = $file;
    my $closure = $^W ? '' : "use warnings 'closure';";
    evaluate("package main; $closure sub PagiBridge::CGI::Script::run {\n#line 1 \"$file\"\n$source\n}");
    return if $@ ne '';
    if ($ends) { require B }
    return 1;
}

# leave stands for exit.
sub leave {
    $status = @_ ? $_[0] : 0;
    CORE::exit($status) if !defined $worker || $$ != $worker;
    no warnings 'exiting';
    eval { last REQUEST };    # fails in a sort block, for one
    CORE::exit($status);
}

=head2 work($socket)

Answers what comes through a socket, as L<PagiBridge::CGI::Zygote> has it. After each run
it sends C<D> and the status that the process would have ended with.

=cut

sub work {
    my ($socket) = @_;
    ($worker, $umask, $warnings) = ($$, umask, $^W);
    %environment = %ENV;
    @library     = @INC;
    %signal      = map { $_ => $SIG{$_} } @SIGNALS;
    %cgi         = map { no strict 'refs'; $_ => ${"CGI::$_"} } @CGI if $INC{'CGI.pm'};
    close STDIN;
    close STDOUT;
    close STDERR;
    while (my ($text, @standard) = PagiBridge::CGI::Kernel::take($socket, 1)) {
        PagiBridge::CGI::Kernel::vanish() if @standard != 3;
        for (0 .. 2) { PagiBridge::CGI::Kernel::put($standard[$_], $_) if $standard[$_] != $_ }
        prepare($text);
        $status = 0;
        REQUEST: {
            local ($/, $\, $,, $", $;) = ("\n", undef, undef, ' ', "\034");
            local $_;
            PagiBridge::CGI::Script::run();
        }
        CORE::exit(0) if $$ != $worker;    # a child that the script has forked
        $status = run_ends($status) if $ends;
        PagiBridge::CGI::Kernel::hand_on($socket, pack 'a L', 'D', $status & 255);
        tidy();
    }
    if ($ends) {
        run_ends(0, 1);
        PagiBridge::CGI::Kernel::vanish();
    }
    CORE::exit(0);
}

# prepare makes everything as it is for the first run.
sub prepare {
    my ($text) = @_;
    open STDIN,  '<&=', 0;
    open STDOUT, '>&=', 1;
    open STDERR, '>&=', 2;
    select STDOUT;
    $| = 0;
    my %want = %environment;
    for my $variable (split /\0/, substr $text, 4) {
        my ($name, $value) = split /=/, $variable, 2;
        if (defined $value) { $want{$name} = $value }
        else { delete $want{$name} }
    }
    for my $name (keys %want) {
        my $is = $ENV{$name};
        $ENV{$name} = $want{$name} if !defined $is || $is ne $want{$name};
    }
    if (keys %ENV > keys %want) {
        delete @ENV{ grep { !exists $want{$_} } keys %ENV };
    }
    open main::DATA, '<', $file and seek main::DATA, $data, 0 if defined $data;
    @ARGV = ();
    $0    = $file if $0 ne $file;
    ($@, $!, $?, $^T, $^W) = ('', 0, 0, time, $warnings);
    srand unpack 'L', $text;
    return;
}

# tidy takes back what a run has changed, while nobody waits.
sub tidy {
    close STDIN;
    close STDOUT;
    close STDERR;
    alarm 0;
    for my $name (@SIGNALS) {
        my ($is, $was) = ($SIG{$name}, $signal{$name});
        next if defined $is ? defined $was && $is eq $was : !defined $was;
        if (defined $was || $name !~ /\A_/) { $SIG{$name} = defined $was ? $was : 'DEFAULT' }
        else { delete $SIG{$name} }
    }
    @INC = @library if @INC != @library;
    umask $umask;
    chdir $directory or CORE::exit(0);
    if (%cgi) {
        CGI::initialize_globals();
        no strict 'refs';
        ${"CGI::$_"} = $cgi{$_} for @CGI;
    }
    if ($INC{'CGI/Carp.pm'}) {
        no warnings 'once';
        ($CGI::Carp::EMIT_WARNINGS, @CGI::Carp::WARNINGS) = (0);
    }
    return;
}

# run_ends runs the script's END blocks, or all others, and returns the status that they
# leave.
sub run_ends {
    my ($code, $others) = @_;
    my $all = B::end_av();
    local $? = $code;
    return $code if !$all->can('ARRAY');
    for my $block ($all->ARRAY) {
        my $own = $block->FILE eq $file;
        $block->object_2svref->() if $others ? !$own : $own;
    }
    return $?;
}

1;
