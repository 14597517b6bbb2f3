package PagiBridge::CGI::Ending;

use strict;
use warnings;

use PagiBridge::CGI::Kernel      ();
use PagiBridge::CGI::Descriptors ();
use PagiBridge::CGI::Destructors ();

=head1 NAME

PagiBridge::CGI::Ending - ends the process of a CGI script without perl's last look at everything, where that shows nothing

=head1 SYNOPSIS

    PagiBridge::CGI::Ending::prepare(@descriptors);    # in the process that forks, when the script is compiled
    PagiBridge::CGI::Ending::arm();                    # in the process that runs the script

=head1 DESCRIPTION

After the C<END> blocks perl looks for objects in all symbol tables, and so writes to them. In a forked process the kernel then
copies a page for each. With CGI.pm that is a third of what such a process costs.

The C<END> block of this module is the first that perl has compiled, so it is the last to run. It flushes all handles and ends
the process, if what perl would do then has no effect: no class has a destructor, but for those known to do nothing then; no
library was loaded that may do something at the end; the standard handles are pipes, no other descriptor is open, and no
child is left. Otherwise perl goes on.

This module loads no other module, because it is loaded before a script.

=cut

# Destructors that do nothing at the end of a process, and AUTOLOAD of packages that are no classes or that ignore DESTROY.
my @HARMLESS = qw(
    AutoLoader::AUTOLOAD Config::AUTOLOAD Config::DESTROY Encode::Encoding::DESTROY Fcntl::AUTOLOAD
    HTTP::Message::AUTOLOAD HTTP::Message::DESTROY IO::Handle::DESTROY JSON::XS::DESTROY POSIX::AUTOLOAD Regexp::DESTROY
    SelectSaver::DESTROY Template::Document::AUTOLOAD Template::Provider::DESTROY Time::HiRes::AUTOLOAD
    Try::Tiny::ScopeGuard::DESTROY base::__inc::scope_guard::DESTROY bytes::AUTOLOAD
);

# Libraries of C that do nothing at the end of a process but free memory, by the end of their files' names.
my %PLAIN = map { $_ => 1 } qw(
    attributes Clone Cwd Data/Dumper DateTime Digest/MD5 Digest/SHA Encode Encode/Unicode Fcntl File/Glob Hash/Util HTML/Parser
    I18N/Langinfo IO JSON/XS List/Util Math/BigInt/FastCalc MIME/Base64 mro PerlIO/encoding PerlIO/scalar POSIX re
    Socket Storable Sys/Hostname Template/Stash/XS Text/CSV_XS Tie/Hash/NamedCapture Time/HiRes Time/Piece Unicode/Normalize
);

my ($possible, $armed);

# The variables of leave.
my ($fcntl, $ppoll, $close, $exit, $status, $pid, $at, $is, $libraries, $polled, $size, $end, $free) = (0) x 13;
my ($asked, $closed, $tables, $counts, $slots, $files);
my $no_time = pack 'q2', 0, 0;

END { leave() if $armed }

=head1 FUNCTIONS

=head2 prepare(@descriptors)

Notes the state in which runs begin. C<@descriptors> are those that the process has besides the standard ones.

=cut

sub prepare {
    return if ${^TAINT} || $^P || $] < 5.026;    # $^P: with a debugger; below 5.26 it takes a list to count the names of a package
    ($fcntl, $ppoll, $close, $exit) = PagiBridge::CGI::Kernel::numbers(qw(fcntl ppoll close exit_group));
    PagiBridge::CGI::Descriptors::note(@_);
    ($asked, $size, $closed, $end, $free) = PagiBridge::CGI::Descriptors::noted();
    $polled = $asked;
    PagiBridge::CGI::Destructors::watch(sub { 0 }, @HARMLESS);
    ($tables, $counts, $slots) = PagiBridge::CGI::Destructors::noted();
    $possible = are_plain() && !PagiBridge::CGI::Destructors::found();
    rehearse();
    return;
}

# rehearse calls functions of the C library that each process calls at its end, so that they are looked up once.
sub rehearse {
    local ($@, $!, $?, $SIG{__DIE__});
    local $^W = 0;
    $pid = waitpid -1, 1;
    eval {
        $is = syswrite STDOUT, '' if !tied *STDOUT;    # writes nothing; with a layer for characters it dies
        die \'';                                       # leaves by longjmp, as exit does
    };
    return;
}

# are_plain reports whether the libraries that were loaded since the last call do nothing at the end. Perl has the names of their
# files in an array.
sub are_plain {
    no strict 'refs';
    $files ||= \@{'DynaLoader::dl_shared_objects'};
    while ($libraries < @$files) {
        my ($name) = $files->[ $libraries++ ] =~ m{/auto/(.+)/[^/]+\z};
        return 0 if !defined $name || !$PLAIN{$name};
    }
    return 1;
}

=head2 arm

Says that this process runs the script.

=cut

sub arm { $armed = $possible; return }

# leave ends the process, if what perl would do else has no effect. Each page to which it writes costs as much as a hundred of
# its steps, so it does most in one place and in variables that exist.
sub leave {
    $status = $?;
    return if defined $SIG{PIPE} || !-p STDOUT || !-p STDERR;    # perl says so if the last output cannot be written
    substr $polled, 0, length $polled, $asked;
    return if syscall($ppoll, $polled, $size, $no_time, 0, 8) < 0 || $polled ne $closed;
    $is = syscall $fcntl, 0, 1030, $end;                         # F_DUPFD_CLOEXEC
    syscall $close, $is if $is >= 0;
    return if $is != $free;
    do { $pid = waitpid -1, 1 } while ($pid > 0);                # WNOHANG
    $? = $status;
    return if !$pid;                                             # perl waits for a child to which a handle leads
    for $at (0 .. $#$tables) {
        next if %{ $tables->[$at] } == $counts->[$at];
        return if PagiBridge::CGI::Destructors::found();
        last;
    }
    for $at (0 .. $#$slots) {
        next if (*{ $slots->[$at]{glob} }{CODE} || 0) == $slots->[$at]{code};
        return if PagiBridge::CGI::Destructors::found();
        last;
    }
    return if $libraries != @$files && !are_plain();
    $^W = 0;
    no warnings 'exec';
    exec {'/'} 'none' or syscall $exit, $status & 255;           # exec flushes all handles, even for a program that cannot be run
    return;
}

1;
