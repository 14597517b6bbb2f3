use strict;
use warnings;

use Config;
use Test::More;
use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::Stack;

plan skip_all => 'only on Linux with 64 bits' if $^O ne 'linux' || $Config{ptrsize} != 8 || !exists $SIG{NUM60};
my $sigaction = { x86_64 => 13, aarch64 => 134, riscv64 => 134 }->{ (split /-/, $Config{archname})[0] };
plan skip_all => "the machine is $Config{archname}" if !$sigaction;

# child runs code in a process with the handlers. It returns what that has written to standard error, and how it ended.
# $then gets its number when it has said that it is ready.
sub child {
    my ($code, $then) = @_;
    pipe my $errors, my $theirs or die $!;
    pipe my $ready,  my $tell   or die $!;
    my $pid = fork;
    if (!$pid) {
        open STDERR, '>&', $theirs or die $!;
        PagiBridge::Stack::watch("ILL $sigaction");
        syswrite $tell, 'x';
        $code->();
        exit 0;
    }
    close $theirs;
    close $tell;
    sysread $ready, my $is, 1;
    $then->($pid);
    my $text = do { local $/; <$errors> };
    waitpid $pid, 0;
    return $text, $?;
}

# asleep waits until a process waits in the kernel.
sub asleep {
    my ($pid) = @_;
    for (1 .. 1000) {
        open my $f, '<', "/proc/$pid/stat" or return;
        return if <$f> =~ /\) S /;
        select undef, undef, undef, 0.01;
    }
}

# ask sends a signal, waits for what it brings, and ends the process.
sub ask {
    my ($signal) = @_;
    return sub {
        my ($pid) = @_;
        asleep($pid);
        kill $signal => $pid;
        select undef, undef, undef, 0.3;
        kill TERM => $pid;
    };
}

sub waits { my ($how) = @_; $how->('a secret'); return }

my %ways = (
    sleep   => sub { sleep 100 },
    sysread => sub { pipe my $r, my $w; sysread $r, my $b, 1 },
    select  => sub { select undef, undef, undef, 100 },
);
for my $name (sort keys %ways) {
    my ($text, $end) = child(sub { waits($ways{$name}) }, ask('ILL'));
    like $text, qr/\A\x1epagi-bridge stack\x1e/, "$name: the line has its mark";
    like $text, qr/main::waits\t/, '... and the callers';
    unlike $text, qr/a secret/, '... without arguments';
    is $end & 127, 15, '... and the process stays there until it is ended';
}

my ($text, $end) = child(sub { while (1) { my %h = map { $_ => 1 } 1 .. 1000 } }, sub {
    kill NUM60 => $_[0];
    select undef, undef, undef, 0.3;
    kill TERM => $_[0];
});
like $text, qr/\A\x1epagi-bridge stack\x1e.*stack\.t\t/, 'a process that runs tells by the other signal';

($text, $end) = child(sub {
    open STDERR, '>', '/dev/null';
    sleep 100;
}, ask('ILL'));
like $text, qr/stack\.t\t/, 'an application that leads STDERR elsewhere also tells';

($text, $end) = child(sub { $! = 2; kill ILL => $$; my $errno = 0 + $!; kill NUM60 => $$; print STDERR "errno $errno\n" }, sub { });
like $text, qr/errno 2$/m, 'the error number is kept';
is scalar(() = $text =~ /pagi-bridge stack/g), 1, 'what was told is not told again';

($text, $end) = child(sub { kill ILL => $$; kill ILL => $$ }, sub { });
is $end & 127, 4, 'a fault of its own ends the process at the second time';
like $text, qr/pagi-bridge stack/, '... and it has told where it was';

sub deep { my ($n) = @_; return $n ? deep($n - 1) : sleep 100 }
($text, $end) = child(sub { no warnings 'recursion'; deep(5000) }, ask('ILL'));
cmp_ok length $text, '<', 4096, 'a deep stack is cut';
like $text, qr/main::deep/, '... and its innermost frames are there';

($text, $end) = child(sub { $SIG{ILL} = sub { syswrite STDERR, "its own handler\n" }; sleep 100 }, ask('ILL'));
like $text, qr/\Aits own handler$/, q(an application's own handler takes the place of this one);

done_testing;
