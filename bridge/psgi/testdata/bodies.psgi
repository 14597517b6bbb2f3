# Every kind of body, status and header that servers of PSGI applications take. The path names
# the case; D in the environment is a directory with a file "ten" that holds 0123456789.
use strict;
use warnings;

use File::Temp ();
use FileHandle ();
use IO::File ();
use IO::Handle ();
use IO::Socket::UNIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Tie::Handle ();

my $ten = "$ENV{D}/ten";
sub opened { my ($mode, $name) = @_; open my $fh, $mode, $name || $ten or die "$!\n"; return $fh }

{
    package Lines;    # getline, and a close that is noted
    our $closed = 0;
    sub new     { my ($class, @lines) = @_; return bless [@lines], $class }
    sub getline { return shift @{ $_[0] } }
    sub close   { $closed++; return }
}
{
    package NoClose;
    sub new     { my ($class, @lines) = @_; return bless [@lines], $class }
    sub getline { return shift @{ $_[0] } }
}
{
    package Derived;
    our @ISA = ('IO::File');
}
{
    package OverGlob;    # an object that is used as a handle
    use overload '*{}' => sub { ${ $_[0] } }, bool => sub { 1 }, fallback => 1;
    sub new { my ($class, $fh) = @_; return bless \$fh, $class }
}
{
    package OverGlobAndGetline;
    our @ISA = ('OverGlob');
    sub getline { my $fh = ${ $_[0] }; my $line = readline $fh; return defined $line ? "<$line>" : undef }
    sub close { return 1 }
}
{
    package OverArray;
    use overload '@{}' => sub { ['over', 'loaded'] }, bool => sub { 1 }, fallback => 1;
    sub new { return bless {}, $_[0] }
}
{
    package Text;
    use overload '""' => sub { 'a string of an object' }, fallback => 1;
    sub new { return bless {}, $_[0] }
}
{
    package Number;
    use overload '""' => sub { '201' }, '0+' => sub { 201 }, fallback => 1;
    sub new { return bless {}, $_[0] }
}
{
    package TiedArray;
    require Tie::Array;
    our @ISA = ('Tie::StdArray');
}
{
    package Counter;
    our @ISA = ('Tie::Handle');
    sub TIEHANDLE { my $n = 0; return bless \$n, shift }
    sub READLINE  { my $self = shift; return $$self++ < 3 ? "line $$self\n" : undef }
    sub CLOSE     { return 1 }
}
{
    package Autoloaded;    # getline by AUTOLOAD and a can of its own
    our $AUTOLOAD;
    sub new { my ($class, @lines) = @_; return bless [@lines], $class }
    sub can { my ($self, $method) = @_; return $method =~ /\A(?:getline|close)\z/ ? sub { my $s = shift; $s->$method(@_) } : undef }
    sub AUTOLOAD { my ($self) = @_; my ($name) = $AUTOLOAD =~ /(\w+)\z/; return $name eq 'getline' ? shift @$self : undef }
    sub DESTROY { return }
}

sub tied_handle { my $fh = Symbol::gensym(); tie *$fh, 'Counter'; return $fh }
sub tied_array { tie my @body, 'TiedArray'; @body = ('ti', 'ed'); return \@body }

sub socket_with {
    my ($text) = @_;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "$!\n";
    syswrite $theirs, $text;
    close $theirs;
    return $ours;
}

sub unlinked {
    my $name = "$ENV{D}/gone$$";
    open my $out, '>', $name or die "$!\n";
    print {$out} 'unlinked';
    close $out;
    open my $in, '<', $name or die "$!\n";
    unlink $name;
    return $in;
}

sub temporary {
    my $fh = File::Temp->new;
    print {$fh} 'temporary';
    seek $fh, 0, 0;
    return $fh;
}

my $growing;    # goes on being written to

sub growing {
    my $name = "$ENV{D}/growing$$";
    open $growing, '>', $name or die "$!\n";
    $growing->autoflush(1);
    print {$growing} 'so far';
    return opened('<', $name);
}

my $data = tell DATA;

my %case = (
    'array'             => sub { ['a', '', 'b'] },
    'array of objects'  => sub { ['<', Text->new, '>'] },
    'array of numbers'  => sub { [1, 2.5, -3] },
    'tied array'        => \&tied_array,
    'glob'              => sub { no strict 'refs'; open *{'main::BODY'}, '<', $ten or die; return *{'main::BODY'} },
    'glob reference'    => sub { open BODY, '<', $ten or die; return \*BODY },
    'IO slot'           => sub { open BODY, '<', $ten or die; return *BODY{IO} },
    'DATA'              => sub { open my $fh, '<&', \*DATA or die; seek $fh, $data, 0; return $fh },
    'IO::File'          => sub { IO::File->new($ten, 'r') },
    'IO::Handle'        => sub { IO::Handle->new_from_fd(opened('<'), 'r') },
    'FileHandle'        => sub { FileHandle->new($ten, 'r') },
    'derived IO::File'  => sub { Derived->new($ten, 'r') },
    'in memory'         => sub { opened('<', \"in memory\nof two lines\n") },
    'in memory, empty'  => sub { opened('<', \'') },
    'new_tmpfile'       => sub { my $fh = IO::File->new_tmpfile; print {$fh} 'tmpfile'; seek $fh, 0, 0; $fh },
    'File::Temp'        => \&temporary,
    'unlinked'          => \&unlinked,
    'growing'           => \&growing,
    'read from'         => sub { my $fh = opened('<'); read $fh, my $part, 4; $fh },
    'at its end'        => sub { my $fh = opened('<'); seek $fh, 0, 2; $fh },
    'beyond its end'    => sub { my $fh = opened('<'); seek $fh, 99, 0; $fh },
    'sysread from'      => sub { my $fh = opened('<'); sysread $fh, my $part, 4; $fh },
    'tied handle'       => \&tied_handle,
    'layer :crlf'       => sub { open my $out, '>:raw', "$ENV{D}/crlf" or die; print {$out} "a\r\nb\r\n"; close $out; opened('<:crlf', "$ENV{D}/crlf") },
    'layer :utf8'       => sub { open my $out, '>:raw', "$ENV{D}/latin" or die; print {$out} "caf\xc3\xa9"; close $out; opened('<:encoding(UTF-8)', "$ENV{D}/latin") },
    'layer :latin1'     => sub { open my $out, '>:raw', "$ENV{D}/latin" or die; print {$out} "caf\xe9"; close $out; opened('<:encoding(iso-8859-1)', "$ENV{D}/latin") },
    'layer :bytes'      => sub { opened('<:bytes') },
    'layer :mmap'       => sub { opened('<:mmap') },
    'layer :stdio'      => sub { opened('<:stdio') },
    'pipe'              => sub { pipe my $in, my $out or die; syswrite $out, 'through a pipe'; close $out; $in },
    'command'           => sub { open my $fh, '-|', 'echo', 'of a command' or die; $fh },
    'socket'            => sub { socket_with('of a socket') },
    'IO::Socket'        => sub { my $s = IO::Socket::UNIX->new_from_fd(socket_with('of an IO::Socket'), 'r+'); $s },
    'FIFO'              => sub { require POSIX; my $name = "$ENV{D}/fifo$$"; POSIX::mkfifo($name, 0600) or die; open my $fh, '+<', $name or die; syswrite $fh, 'x'; unlink $name; require IO::Handle; bless { fh => $fh }, 'OneByte' },
    '/proc'             => sub { opened('<', '/proc/self/comm') },
    '/proc, empty size' => sub { opened('<', '/proc/version') },
    '/sys'              => sub { opened('<', '/sys/kernel/mm/transparent_hugepage/enabled') },
    '/dev/null'         => sub { opened('<', '/dev/null') },
    'directory'         => sub { open my $fh, '<', $ENV{D} or die; $fh },
    'closed handle'     => sub { my $fh = opened('<'); close $fh; $fh },
    'write only'        => sub { open my $fh, '>', "$ENV{D}/out" or die; $fh },
    'getline and close' => sub { Lines->new('a', '', '0', "b\n") },
    'getline alone'     => sub { NoClose->new('a', 'b') },
    'AUTOLOAD'          => sub { Autoloaded->new('auto', 'loaded') },
    'object overloading *{}'             => sub { OverGlob->new(opened('<')) },
    'object overloading *{}, a getline'  => sub { OverGlobAndGetline->new(opened('<')) },
    'object overloading @{}'             => sub { OverArray->new },
    'object that is an array'            => sub { bless ['of', ' Nothing'], 'Nothing' },
    'object overloading its string'      => sub { Text->new },
    'string'            => sub { 'text' },
    'reference to text' => sub { \'text' },
    'hash'              => sub { {} },
    'code'              => sub { sub { 'text' } },
    'undef'             => sub { undef },
);
{ package OneByte; sub getline { my $s = shift; return if $s->{n}++; sysread $s->{fh}, my $b, 1; $b } sub close { 1 } }

my %head = (
    'status with text'      => sub { ['200 OK', [], ['x']] },
    'status as a string'    => sub { ['404', [], ['x']] },
    'status as an object'   => sub { [Number->new, [], ['x']] },
    'status as a fraction'  => sub { [200.0, [], ['x']] },
    'status 299'            => sub { [299, [], ['x']] },
    'status 599'            => sub { [599, [], ['x']] },
    'status 999'            => sub { [999, [], ['x']] },
    'status 204 with a body'  => sub { [204, [], ['x']] },
    'status 304 with a body'  => sub { [304, ['Content-Type' => 'text/plain'], ['x']] },
    'status 204 with a length' => sub { [204, ['Content-Length' => 0], []] },
    'header of a number'    => sub { [200, ['X-N' => 5], ['x']] },
    'header of an object'   => sub { [200, ['X-O' => Text->new], ['x']] },
    'header undefined'      => sub { [200, ['X-U' => undef], ['x']] },
    'header empty'          => sub { [200, ['X-E' => ''], ['x']] },
    'header of blanks'      => sub { [200, ['X-B' => '  b  '], ['x']] },
    'header in latin-1'     => sub { [200, ['X-L' => "caf\xe9"], ['x']] },
    'header with UTF-8 flag' => sub { my $v = "caf\xe9"; utf8::upgrade($v); [200, ['X-L' => $v], ['x']] },
    'header with a newline at its end' => sub { [200, ['X-N' => "value\n"], ['x']] },
    'header with a newline' => sub { [200, ['X-N' => "a\nb"], ['x']] },
    'header folded'         => sub { [200, ['X-N' => "a\r\n b"], ['x']] },
    'header name with _'    => sub { [200, ['X_N' => 'a'], ['x']] },
    'header name with :'    => sub { [200, ['X-N:' => 'a'], ['x']] },
    'header name with blank' => sub { [200, ['X N' => 'a'], ['x']] },
    'header Status'         => sub { [200, ['Status' => '404'], ['x']] },
    'header Connection'     => sub { [200, ['Connection' => 'close'], ['x']] },
    'header Keep-Alive'     => sub { [200, ['Keep-Alive' => 'timeout=5'], ['x']] },
    'header Date'           => sub { [200, ['Date' => 'Thu, 01 Jan 1970 00:00:00 GMT'], ['x']] },
    'header Server'         => sub { [200, ['Server' => 'mine'], ['x']] },
    'headers tied'          => sub { tie my @h, 'TiedArray'; @h = ('X-T' => 't'); [200, \@h, ['x']] },
    'headers blessed'       => sub { [200, bless(['X-T' => 't'], 'Nothing'), ['x']] },
    'header in the answer twice' => sub { [200, ['X-T' => 't', 'x-t' => 'u'], ['x']] },
    'answer blessed'        => sub { bless [200, [], ['x']], 'Nothing' },
    'four elements'         => sub { [200, [], ['x'], 'more'] },
    'object overloading &{}' => sub { CodeObject->new(sub { $_[0]->([200, [], ['x']]) }) },
    'length too long'       => sub { [200, ['Content-Length' => 5], ['x']] },
    'length too short'      => sub { [200, ['Content-Length' => 5], ['0123456789']] },
    'length too short for a file' => sub { [200, ['Content-Length' => 5], opened('<')] },
    'length too short for a getline' => sub { [200, ['Content-Length' => 5], Lines->new('0123', '456789')] },
    'length too long for a file' => sub { [200, ['Content-Length' => 50], opened('<')] },
    'length that is none'   => sub { [200, ['Content-Length' => 'x'], ['x']] },
    'length undefined'      => sub { [200, ['Content-Length' => undef], ['x']] },
    'length twice'          => sub { [200, ['Content-Length' => 1, 'Content-Length' => 1], ['x']] },
);
{ package CodeObject; use overload '&{}' => sub { $_[0]{code} }, fallback => 1; sub new { my ($c, $code) = @_; bless { code => $code }, $c } }

sub {
    my ($env) = @_;
    my ($how, $name) = $env->{PATH_INFO} =~ m{\A/(\w+)/(.*)\z}s;
    return [200, [], [join "\n", $how eq 'body' ? sort keys %case : sort keys %head]] if $name eq '';
    return [200, [], [$Lines::closed]] if $name eq 'closed';
    if ($how eq 'head') { return $head{$name}->() }
    my $make = $case{$name} or return [404, [], ["no case $name"]];
    return [200, ['Content-Type' => 'text/plain'], $make->()] if $how eq 'body';
    return sub { $_[0]->([200, ['Content-Type' => 'text/plain'], $make->()]) };    # late
};

__DATA__
what follows
the program
