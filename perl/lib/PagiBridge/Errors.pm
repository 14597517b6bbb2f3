package PagiBridge::Errors;

use strict;
use warnings;

use Errno qw(EBADF);
use IO::Handle ();
use Scalar::Util qw(weaken);
use Symbol ();

use PagiBridge::Wire qw(LOG_WARN);

=head1 NAME

PagiBridge::Errors - psgi.errors: a handle whose lines become log records

=head1 SYNOPSIS

    my $handle = PagiBridge::Errors->handle($worker);
    print {$handle} "disk almost full\n";
    $handle->print("the same\n");

    local *STDERR = $handle;    # as CGI::Emulate::PSGI does

=head1 DESCRIPTION

A tied handle. The text of one print is one record, which belongs to the request that is being
served. A process that the application has forked prints to its standard error instead.

The handle can take the place of C<STDERR>. Below the tie is a copy of the standard
error, which C<< open '>&' >> copies. When an application opens or unties the handle, it
becomes a plain one with descriptor 2, as C<STDERR> is; the next request gets a fresh
handle and the standard error that there was before. C<close> does nothing: the handle is
the server's.

In this module the standard error is descriptor 2, never the name C<STDERR>, which may stand
for this handle.

=head1 FUNCTIONS

=head2 handle($worker)

Returns a new handle.

=cut

my $standard;    # a copy of the standard error
my $taken;       # a handle of ours was opened anew by the application, and has taken descriptor 2

sub handle {
    my ($class, $worker) = @_;
    # The copies are not inherited by programs. There are none where the application has
    # closed its standard error.
    my $number = number();
    my $copy;
    $standard = open($copy, '>&', $number) ? $copy : undef;
    my $glob = Symbol::gensym();
    bless $glob, 'IO::Handle';
    $glob->autoflush(1) if open $glob, '>&', $number;
    my $self = tie *$glob, $class, $worker;
    weaken($self->{io} = *$glob{IO});
    return $glob;
}

=head2 light($worker)

Returns a handle for one of many requests at once, without a descriptor of its own. C<$worker> has a method C<log> and a
field C<stream>.

=cut

sub light {
    my ($class, $worker) = @_;
    my $glob = Symbol::gensym();
    bless $glob, 'IO::Handle';
    my $self = tie *$glob, $class, $worker;
    weaken($self->{io} = *$glob{IO});
    return $glob;
}

# number returns the descriptor of the standard error: 2, or that of the copy where an
# application has closed 2. The next file that it opens gets the number 2.
sub number {
    return 2 if !$standard;
    my @two = identity(2);
    my @own = stat $standard;
    return "@two" eq "@own[0, 1]" ? 2 : fileno $standard;
}

# identity returns the device and inode of a descriptor, or nothing when it is closed.
sub identity {
    my ($number) = @_;
    open my $copy, '>&', $number or return;    # to close a handle of the descriptor itself might close that
    return (stat $copy)[0, 1];
}

=head2 renew($handle, $worker)

Returns the handle, or a new one where an application has opened or untied it.

=cut

sub renew {
    my ($class, $handle, $worker) = @_;
    return $handle if tied *$handle;
    # Descriptor 2 is put back where it is closed or is this handle's, and not where it is a
    # file of the application's. It stays this handle's when the application has closed the handle:
    # perl keeps the standard descriptors open.
    my $number = fileno $handle;
    if ($standard && ($taken || defined $number && $number == 2 || !identity(2))) {
        require POSIX;
        POSIX::dup2(fileno $standard, 2);
    }
    $taken = 0;
    return $class->handle($worker);
}

=head2 plainly($text)

Writes a text to the standard error.

=cut

sub plainly {
    my ($text) = @_;
    local $!;
    open my $err, '>&', number() or return;
    syswrite $err, $text;
    close $err;
    return;
}

sub TIEHANDLE {
    my ($class, $worker) = @_;
    return bless { worker => $worker, utf8 => undef }, $class;
}

sub PRINT {
    my $self = shift;
    no warnings 'uninitialized';
    return $self->record(join($,, @_) . $\);
}

sub PRINTF {
    my ($self, $format, @list) = @_;
    return $self->record(sprintf $format, @list);
}

sub WRITE {
    my ($self, $bytes, $length, $offset) = @_;
    my $text = substr $bytes, $offset || 0, defined $length ? $length : length $bytes;
    $self->record($text);
    return length $text;
}

sub record {
    my ($self, $text) = @_;
    local ($@, $!);
    utf8::encode($text) if defined $self->{utf8} && $self->{utf8} == $self->{worker}{stream};
    $text =~ s/\s+\z//;
    $self->{worker}->log(LOG_WARN, $text) if $text ne '';
    return 1;
}

# A layer applies for the request that sets it. With a layer that encodes, all text is encoded.
# Without one, only text with wide characters is encoded.
sub BINMODE {
    my ($self, $layers) = @_;
    $self->{utf8} = defined $layers && $layers =~ /utf-?8/i ? $self->{worker}{stream} : undef;
    return 1;
}

sub OPEN {
    my ($self, $mode, @rest) = @_;
    # A handle that is given by its name is meant in the package of the caller.
    my $package = caller;
    my $name    = @rest ? \$rest[0] : \$mode;
    if ($mode =~ /&/ && defined $$name && !ref $$name && ref \$$name ne 'GLOB') {
        $$name =~ s/(\A|&=?\s*)(?=[A-Za-z_]\w*\s*\z)(?!STD(?:IN|OUT|ERR)\s*\z)/$1${package}::/;
    }
    my $io = $self->{io};
    untie *$io;
    close $io if @rest && ref $rest[0] eq 'SCALAR';    # a variable cannot take over a descriptor
    my $done = @rest ? open *$io, $mode, @rest : open *$io, $mode;
    my $number = fileno *$io;
    $taken = 1 if defined $number && $number == 2;
    return $done;
}

# Perl calls UNTIE before it undoes the tie. UNTIE undoes the tie itself, so that it can make
# the handle below a plain handle of the standard error.
sub UNTIE {
    my ($self) = @_;
    return if $self->{untied}++;
    my $io = $self->{io};
    untie *$io;
    open *$io, '>&=', number();
    return;
}

sub CLOSE    { return 1 }
sub FILENO   { return 2 }
sub EOF      { return 1 }
sub TELL     { return -1 }
sub SEEK     { return '' }
sub READ     { $! = EBADF; return }
sub READLINE { $! = EBADF; return }
sub GETC     { $! = EBADF; return }

1;
