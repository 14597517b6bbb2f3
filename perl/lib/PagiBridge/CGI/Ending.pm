package PagiBridge::CGI::Ending;

use strict;
use warnings;

use PagiBridge::CGI::Kernel ();

=head1 NAME

PagiBridge::CGI::Ending - what a process does when a script has run and all END blocks have

=head1 SYNOPSIS

    require PagiBridge::CGI::Ending;                    # before the script is compiled
    PagiBridge::CGI::Ending::probe();                   # when it is
    $PagiBridge::CGI::Ending::process = $$;             # in the process that runs it
    PagiBridge::CGI::Ending::begin($directory, @INC);   # there too, for a report

=head1 DESCRIPTION

It reports the modules that were loaded, and it ends the process without perl's global
destruction where nobody could tell the difference. That visits every symbol of the program and
so has the kernel copy a good part of the memory that the process shares with its zygote.

The difference can be told where an object has a destructor, where a child has to be waited for, and
where a layer of PerlIO has something to add at the end of a file. Then perl ends the
process, and so it does where modules were loaded or a destructor was defined while the script ran.

=head1 FUNCTIONS

=cut

# Ops of subroutines that do nothing.
my %IDLE = map { $_ => 1 } qw(const dbstate leavesub lineseq nextstate null pushmark return stub undef);

# The class with a destructor of perl's own, which does nothing.
my $OWN = 'Regexp::';

# What waitid is told: to look for any child, and to leave it.
my ($P_ALL, $WNOHANG_WEXITED_WNOWAIT) = (0, 0x1000005);

# The process that runs a script; set by who makes it.
our $process;

my ($quick, $loaded, $symbols, @tables, $directory, @library, %before, $waitid, $exit_group, $info);

# This block is compiled before all others, and runs after them. The memory it writes to is
# copied first, so it does without subroutines.
END {
    if (defined $process && $$ == $process) {
        write_report() if defined $directory;
        if ($quick && keys %INC == $loaded && keys %main:: == $symbols) {
            for (@tables) {
                $quick = 0 if $_->{DESTROY} && *{ $_->{DESTROY} }{CODE} || $_->{AUTOLOAD} && *{ $_->{AUTOLOAD} }{CODE};
            }
            if ($quick && syscall($waitid, $P_ALL, 0, $info, $WNOHANG_WEXITED_WNOWAIT, 0) < 0) {
                # Perl flushes all handles before it runs a program, even one that cannot be run.
                no warnings 'exec';
                exec {'/'} 'none';
                syscall $exit_group, $? + 0;
            }
        }
    }
}

=head2 probe

Finds out whether there are destructors. That takes the module B, which is loaded in a
process of its own.

=cut

sub probe {
    $quick = 0;
    return if grep {m{\APerlIO/(?!scalar[.]|encoding[.])}} keys %INC;
    local ($@, $!, $?);
    local $SIG{CHLD} = 'DEFAULT';    # the script may have a handler, for its own children
    my $pid = PagiBridge::CGI::Kernel::offspring();
    if (!$pid) {
        PagiBridge::CGI::Kernel::vanish(eval { has_destructor() } // 1);
    }
    $quick = $pid > 0 && waitpid($pid, 0) == $pid && $? == 0;
    return if !$quick;
    ($waitid, $exit_group) = PagiBridge::CGI::Kernel::numbers(qw(waitid exit_group));
    $info    = PagiBridge::CGI::Kernel::space(128);
    @tables  = map { no strict 'refs'; \%{$_} } grep { $_ ne $OWN && !destructors($_) } packages('main::', {});
    $loaded  = keys %INC;
    $symbols = keys %main::;
    return;
}

# packages returns the names of all packages below a name, with their colons.
sub packages {
    my ($name, $seen) = @_;
    no strict 'refs';
    return if $seen->{ \%{$name} }++;
    return $name, map { packages($name eq 'main::' ? $_ : "$name$_", $seen) } grep {/::\z/} keys %{$name};
}

sub has_destructor {
    require B;
    for my $package (packages('main::', {})) {
        no strict 'refs';
        my ($first) = destructors($package) or next;
        return 1 if !is_idle(\&{$first});
    }
    return 0;
}

# destructors returns the names of what perl calls when an object of the class goes.
sub destructors {
    my ($package) = @_;
    no strict 'refs';
    return if $package eq $OWN;
    return grep { defined &{$_} } "${package}DESTROY", "${package}AUTOLOAD";
}

sub is_idle {
    my ($code) = @_;
    my $sub = B::svref_2object($code);
    return 0 if $sub->XSUB;
    for (my $op = $sub->START; $$op; $op = $op->next) {
        return 0 if !$IDLE{ $op->name };
    }
    return 1;
}

=head2 begin($directory, @library)

Has a report be written at the end, F<$directory/loaded-PID>: the keys of C<%INC> that were added, one
per line, of modules in a directory of the library. Those who load others of the same
name by the request are of no use to anybody.

=cut

sub begin {
    ($directory, @library) = @_;
    %before = %INC;
    return;
}

sub write_report {
    local ($@, $!, $_);
    my @new = grep { !$before{$_} && /[.]pm\z/ && defined $INC{$_} } keys %INC;
    @new = grep { my $key = $_; grep { $INC{$key} eq "$_/$key" } @library } @new;
    open my $out, '>', "$directory/loaded-$$" or return;    # the gateway does without
    print {$out} map {"$_\n"} @new;
    return close $out;
}

1;
