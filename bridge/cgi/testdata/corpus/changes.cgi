#!/usr/bin/perl
# What the process itself has been told is told to nobody else.
use POSIX ();
print "Content-Type: text/plain\n\n";
my $blocked = POSIX::SigSet->new;
POSIX::sigprocmask(POSIX::SIG_SETMASK(), undef, $blocked);
print join(' ', POSIX::setlocale(POSIX::LC_ALL()), getpriority(0, 0), umask, $blocked->ismember(POSIX::SIGUSR1()), map { defined && $_ ne 'DEFAULT' ? $_ : 'unset' } @SIG{qw(USR1 WINCH CHLD)}), "\n";
POSIX::setlocale(POSIX::LC_ALL(), 'C.UTF-8');
setpriority 0, 0, 1 + getpriority 0, 0;
umask 077;
POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(POSIX::SIGUSR1()));
@SIG{qw(USR1 WINCH CHLD)} = ('IGNORE', sub { }, 'IGNORE');
require Time::HiRes;
Time::HiRes::setitimer(Time::HiRes::ITIMER_VIRTUAL(), 0.05);
$SIG{VTALRM} = sub { print "too late\n" };
