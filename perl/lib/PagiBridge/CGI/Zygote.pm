package PagiBridge::CGI::Zygote;

use strict;
use warnings;

use PagiBridge::CGI::Kernel ();
use PagiBridge::CGI::Watch  ();

=head1 NAME

PagiBridge::CGI::Zygote - compiles a CGI script once and runs it in a fresh process each time

=head1 SYNOPSIS

    perl -I/runtime/lib -MPagiBridge::CGI::Zygote=63,read,0,... script.cgi

=head1 DESCRIPTION

The script is perl's main program, and stays it: this module is loaded before the first
line, and takes over when all is compiled, in an C<INIT> block. There it forks a process for each
request. In these the block returns, and perl goes on with what comes next: the script's own
C<INIT> blocks and its first statement. So C<__FILE__>, C<DATA>, C<caller>, C<exit>, C<die> and
C<END> are what they are without it.

The first argument is the descriptor of the control socket, a SOCK_SEQPACKET one; the
others say what the numbers of the system calls are. Messages, one per packet:

=over

=item gateway, once

pairs of a key and a value, each followed by NUL: C<module>, to be loaded before the script;
C<script> and C<data>, where the main program is that of L<PagiBridge::CGI::Persistent>;
C<later>, to be loaded when it is compiled, if that can be done; C<report> with a directory, where
children shall tell which modules they have loaded: the keys of C<%INC>, one per line, in a file
C<loaded-PID>. Of interest are those from the directories that C<@INC> had when perl was started.

=item zygote, once

C<R>, then NUL-terminated entries: C<v> and the name of a variable that the compilation has
looked at, C<i> and a file that it has loaded. Or C<D> and why this cannot be done for this
script.

=item gateway

one byte: how many processes to fork; 0 says that those to come need not report.

=item zygote

C<C> and a pid, with a socket on which this child waits for its request; C<S> where it will
report; C<E> and why there is none.

=item gateway, to a child

four random bytes, then NUL-terminated variables: C<NAME=VALUE>, or C<NAME> for one that
is not there. With it come the descriptors for STDIN, STDOUT and STDERR.

=back

=cut

my ($control, $watch, %config, @library);

sub import {
    my (undef, $descriptor, @numbers) = @_;
    $control = 0 + $descriptor;
    my $home = __FILE__;
    $home =~ s{/PagiBridge/CGI/Zygote[.]pm\z}{};
    @INC = grep { $_ ne $home } @INC;
    @library = grep { m{\A/} } @INC;
    if (!PagiBridge::CGI::Kernel::set(@numbers)) {
        print STDERR "this perl is not of the gateway's architecture\n";
        exit 1;
    }
    PagiBridge::CGI::Kernel::keep($control);
    read_configuration();
    {
        local @INC = ($home, @INC);
        require PagiBridge::CGI::Report     if $config{report};
        require PagiBridge::CGI::Persistent if $config{script};
    }
    delete @INC{ grep { m{\APagiBridge/} } keys %INC };    # there may be others of that name
    PagiBridge::CGI::Persistent::prepare(@{ $config{script} }, @{ $config{data} || [] }) if $config{script};
    $watch = PagiBridge::CGI::Watch->begin(control => $control);
    for my $file (@{ $config{module} || [] }) {
        next if eval { require $file };
        decline("$file, of preload_modules, cannot be loaded: $@");
    }
    return;
}

sub read_configuration {
    my ($text) = PagiBridge::CGI::Kernel::take($control) or PagiBridge::CGI::Kernel::vanish();
    my @pairs = split /\0/, $text;
    while (my ($key, $value) = splice @pairs, 0, 2) {
        push @{ $config{$key} }, $value;
    }
    return;
}

sub decline {
    my ($why) = @_;
    PagiBridge::CGI::Kernel::hand_on($control, "D$why");
    PagiBridge::CGI::Kernel::vanish();
    return;
}

INIT {
    local ($@, $!, $?, $_);
    serve() if defined $control;
}

# serve returns in a child that has got its request.
sub serve {
    for my $file (@{ $config{later} || [] }) {
        local ($SIG{__DIE__}, $SIG{__WARN__});
        eval { require $file };    # the script will see what is wrong with it
    }
    my $why = $watch->end;
    $why = 'it keeps a file open' if $why eq '' && $config{script} && $watch->files;
    decline($why) if $why ne '';
    my @included = grep { defined && m{\A/} } values %INC;
    PagiBridge::CGI::Kernel::hand_on($control, join '', 'R', map {"$_\0"} map({"v$_"} $watch->names), map {"i$_"} @included);
    while (1) {
        my ($count) = PagiBridge::CGI::Kernel::take($control) or PagiBridge::CGI::Kernel::vanish();
        delete $config{report} if $count eq "\0";
        for (1 .. ord $count) {
            my ($mine, $theirs) = PagiBridge::CGI::Kernel::pair();
            my $pid = defined $mine ? PagiBridge::CGI::Kernel::twin() : -1;
            if (!$pid) {
                PagiBridge::CGI::Kernel::shut($theirs);
                return become($mine);
            }
            PagiBridge::CGI::Kernel::hand_on($control, $pid > 0 ? (($config{report} ? 'S' : 'C') . $pid, $theirs) : "E$!");
            next if !defined $mine;
            PagiBridge::CGI::Kernel::shut($mine);
            PagiBridge::CGI::Kernel::shut($theirs);
        }
    }
    return;
}

# become makes the process of a request of a child.
sub become {
    my ($mine) = @_;
    PagiBridge::CGI::Kernel::shut($control);
    PagiBridge::CGI::Kernel::end_with_parent();
    for my $file ($watch->files) {
        PagiBridge::CGI::Kernel::reopen(@$file) >= 0 or PagiBridge::CGI::Kernel::vanish();
    }
    return PagiBridge::CGI::Persistent::begin($mine, $watch) if $config{script};
    my ($text, @standard) = PagiBridge::CGI::Kernel::take($mine);
    PagiBridge::CGI::Kernel::vanish() if @standard != 3;
    PagiBridge::CGI::Kernel::put($standard[$_], $_) for 0 .. 2;
    PagiBridge::CGI::Kernel::shut($mine);
    PagiBridge::CGI::Report::begin($config{report}[0], @library) if $config{report};
    for my $variable (split /\0/, substr $text, 4) {
        my ($name, $value) = split /=/, $variable, 2;
        next if $watch->overrides($name);
        if (defined $value) { $ENV{$name} = $value }
        else { delete $ENV{$name} }
    }
    $^T = time;
    srand unpack 'L', $text;
    return;
}

1;
