# An application that misbehaves on demand: each path is one way to do it.
use strict;
use warnings;

use POSIX ();

sub text { return [200, ['Content-Type' => 'text/plain'], [@_]] }

# An exception whose text is an exception.
package Chaos::Stubborn {
    use overload '""' => sub { die "no text for you\n" };
}

package Chaos::Endless {
    use overload '""' => sub {"$_[0]"};    # recursion on the C stack
}

# A class that is no exception but was thrown.
package Chaos::Trouble {
    sub new { my ($class, %self) = @_; return bless {%self}, $class }
    sub message { return $_[0]{message} }
}

my @kept;

sub recurse { my @frame = (1) x 1000; return recurse($_[0] + 1) }

# descriptors returns those of this process that are open.
sub descriptors { return grep { -e "/proc/self/fd/$_" } 3 .. 255 }

my %ways = (
    good => sub { text('good') },
    echo => sub {
        my ($env) = @_;
        my $body = '';
        1 while read $env->{'psgi.input'}, $body, 65536, length $body;
        text("$env->{REQUEST_METHOD} ", length $body);
    },

    # Ends.
    kill     => sub { kill KILL => $$; sleep 60 },
    term     => sub { local $SIG{TERM} = 'DEFAULT'; kill TERM => $$; sleep 60 },
    group    => sub { kill KILL => -getpgrp; sleep 60 },
    exit     => sub { exit 0 },
    _exit    => sub { POSIX::_exit(3) },
    end      => sub { eval 'END { die "in END\n" }'; exit 0 },
    exec     => sub { exec 'true' },
    become   => sub { exec 'sleep', '3600' },
    segv     => sub { my $x = bless {}, 'Chaos::Endless'; text("$x") },
    stopped  => sub { kill STOP => $$; text('woken') },
    hang     => sub { sleep 3600 },
    spin     => sub { 1 while 1 },
    deaf     => sub { $SIG{$_} = 'IGNORE' for qw(TERM INT HUP ALRM USR1 PIPE); sleep 3600 while 1 },

    # Takes all memory; the test limits it.
    leak      => sub { push @kept, 'x' x 32_000_000; text('kept') },
    hog       => sub { push @kept, 'x' x 1_000_000 while 1 },
    recursion => sub { no warnings 'recursion'; recurse(0) },

    # Descriptors.
    closes => sub { POSIX::close($_) for descriptors(); text('closed') },
    garbage => sub {
        for my $fd (descriptors()) { POSIX::write($fd, "HTTP/1.1 200 OK\r\n\r\n" x 2, 38) if -S "/proc/self/fd/$fd" }
        sleep 60;
    },
    streams => sub {
        print STDOUT "printed by the application\n";
        print STDERR "warned by the application\n";
        my $read = readline STDIN;
        text('read ', defined $read ? "'$read'" : 'nothing');
    },
    flood => sub {
        print STDERR 'y' x 3_000_000, "\n";
        print STDERR "line $_\n" for 1 .. 5000;
        text('said');
    },
    standard => sub {
        close STDIN;
        close STDOUT;
        close STDERR;
        open my $fh, '<', '/dev/null' or die "null: $!";
        warn "to nowhere\n";
        text('closed');
    },

    # Children.
    child => sub {
        my $pid = fork;
        die "fork: $!" if !defined $pid;
        if (!$pid) { sleep 3600; POSIX::_exit(0) }
        text('forked');
    },
    orphan => sub {    # and then it is gone itself
        my $pid = fork;
        die "fork: $!" if !defined $pid;
        if (!$pid) { $SIG{TERM} = 'IGNORE'; sleep 3600; POSIX::_exit(0) }
        kill KILL => $$;
        sleep 60;
    },
    both => sub {      # parent and child both answer
        my $pid = fork;
        die "fork: $!" if !defined $pid;
        waitpid $pid, 0 if $pid;
        text($pid ? 'parent' : 'child');
    },

    # Exceptions.
    object   => sub { die Chaos::Trouble->new(message => 'it is broken') },
    hash     => sub { die { code => 42 } },
    stubborn => sub { die bless {}, 'Chaos::Stubborn' },
    long     => sub { die 'z' x 3_000_000 },
    nothing  => sub { die },
    alarmed  => sub {
        eval { local $SIG{ALRM} = sub { die "time is up\n" }; alarm 1; sleep 60 };
        die "alarmed: $@";
    },

    # What a process has one of.
    globals => sub {
        $0 = 'something else';
        chdir '/';
        umask 0777;
        ($/, $\, $,, $", $;, $|) = (undef, "<end>", '<comma>', '<space>', '<subscript>', 1);
        ($^W, $^F) = (1, 255);
        $SIG{$_} = 'IGNORE' for qw(TERM INT HUP USR1 USR2 CHLD);
        $SIG{PIPE} = 'DEFAULT';
        $SIG{__WARN__} = sub { die @_ };
        $SIG{__DIE__}  = sub { print STDERR "a handler left behind\n" };
        open my $other, '>', '/dev/null' or die "null: $!";
        select $other;
        $_ = 'changed';
        $@ = 'changed';
        @ARGV = ('changed');
        %ENV  = ();
        srand 1;
        text('changed');
    },
    late => sub { alarm 1; text('set') },
);

sub {
    my ($env) = @_;
    my ($way) = $env->{PATH_INFO} =~ m{\A/(\w+)\z};
    my $code = defined $way && $ways{$way} or return [404, [], ['no such way']];
    return $code->($env);
};
