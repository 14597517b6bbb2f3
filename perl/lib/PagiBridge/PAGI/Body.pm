package PagiBridge::PAGI::Body;

use strict;
use warnings;

use Fcntl        ();
use Scalar::Util qw(blessed openhandle reftype);

use PagiBridge::Event ();
use PagiBridge::File  ();

=head1 NAME

PagiBridge::PAGI::Body - the body of a response that is a file or a handle

=head1 SYNOPSIS

    my $body = PagiBridge::PAGI::Body->new($event, $has_paths);
    my $payload = $body->payload;                        # the gateway sends the file
    print $body->next(65536) while !$body->is_done;      # or it is read here

=head1 DESCRIPTION

A plain file goes as its name, and the gateway sends it with sendfile. Everything else is read here: a handle
with a layer or with its own way to read, a reference to a string, a pipe, a socket. A pipe or a socket is read
when the loop says that it can be.

=head1 METHODS

=head2 new($event, $has_paths)

Dies with a sentence if the file cannot be opened or the handle is closed.

=cut

sub new {
    my ($class, $event, $has_paths) = @_;
    my $offset = $event->{offset} || 0;
    my $self   = bless { left => $event->{length}, at => undef, handle => undef, text => undef, slow => 0 }, $class;
    my $handle = $event->{fh};
    if (defined $event->{file}) {
        open $handle, '<:raw', $event->{file} or die "$event->{file}: $!\n";
        die "$event->{file}: is a directory\n" if -d $handle;
    }
    elsif ((reftype($handle) || '') eq 'SCALAR' && !openhandle($handle) && !(blessed $handle && $handle->can('read'))) {
        $self->{text} = defined $$handle ? $$handle : '';
        utf8::downgrade($self->{text}, 1) or die "wide character in 'fh', which must be bytes\n";
        $self->{at} = $offset;
        $self->clip(length $self->{text});
        return $self;
    }
    $self->{handle} = $handle;
    my $open = openhandle($handle);
    die "'fh' is no open handle\n" if !$open && !(blessed $handle && ($handle->can('read') || $handle->can('getline')));
    my $fd = $open && !tied *$open ? fileno $open : undef;
    if (defined $fd && $fd >= 0 && !is_special($handle)) {
        if (-f $open) { return $self if $has_paths && $self->by_name($open, $offset) }
        elsif (-p _ || -S _ || -c _) { $self->{slow} = 1 }
    }
    die "an offset into something that cannot seek\n" if $offset && ($self->{slow} || !$self->move($offset));
    return $self;
}

# is_special reports whether an object has its own way to read.
sub is_special {
    my ($handle) = @_;
    return blessed $handle && grep { PagiBridge::File::is_special($handle, $_) } qw(read getline sysread);
}

# clip takes a length for the rest of the bytes where none is given.
sub clip {
    my ($self, $size) = @_;
    my $rest = $size > $self->{at} ? $size - $self->{at} : 0;
    $self->{left} = $rest if !defined $self->{left} || $self->{left} > $rest;
    return;
}

# by_name finds the name of a plain file, for the gateway.
sub by_name {
    my ($self, $handle, $offset) = @_;
    return 0 if grep { $_ ne 'unix' && $_ ne 'perlio' } PerlIO::get_layers($handle);
    my @stat = stat $handle;
    return 0 if !@stat || !$stat[12];    # no blocks: made up by the kernel, as in /proc; only reading it tells
    my $at = tell $handle;
    return 0 if $at < 0 || $at != sysseek $handle, 0, Fcntl::SEEK_CUR();    # perl has read ahead
    my $path = readlink '/proc/self/fd/' . fileno $handle;
    return 0 if !defined $path || $path !~ m{\A/};
    my @there = stat $path;
    return 0 if !@there || $there[0] != $stat[0] || $there[1] != $stat[1];    # it has been removed
    $self->{at} = $offset || $at;
    $self->clip($stat[7]);
    utf8::encode($path) if utf8::is_utf8($path);
    $self->{payload} = $self->{left}
        ? PagiBridge::Event::file_payload($path, $self->{at}, $self->{left}, @stat[ 0, 1 ])
        : PagiBridge::Event::payload_of({ type => 'http.response.body' });
    return 1;
}

sub move {
    my ($self, $offset) = @_;
    my $handle = $self->{handle};
    return openhandle($handle) ? seek $handle, $offset, Fcntl::SEEK_SET() : $handle->can('seek') && $handle->seek($offset, 0);
}

=head2 payload

The payload of the event by which the gateway sends the file; undef if it cannot.

=cut

sub payload { return $_[0]{payload} }

=head2 is_slow, wait($loop, $code)

Whether the body comes from a pipe or the like, and a way to be called once when that can be read.

=cut

sub is_slow { return $_[0]{slow} }

sub wait {
    my ($self, $loop, $code) = @_;
    my $handle = $self->{handle};
    $loop->watch_io(handle => $handle, on_read_ready => sub {
        $loop->unwatch_io(handle => $handle, on_read_ready => 1);
        $code->();
    });
    return;
}

=head2 next($most), is_done

The next bytes, empty ones at the end, and whether there are no more. C<next> dies if it cannot read.

=cut

sub next {
    my ($self, $most) = @_;
    $most = $self->{left} if defined $self->{left} && $self->{left} < $most;
    if (!$most) {
        $self->{done} = 1;
        return '';
    }
    my $piece = defined $self->{text} ? substr $self->{text}, $self->{at}, $most : $self->read_piece($most);
    $self->{at}   += length $piece if defined $self->{text};
    $self->{left} -= length $piece if defined $self->{left};
    $self->{done} = 1 if $piece eq '' || defined $self->{left} && !$self->{left};
    utf8::downgrade($piece, 1) or die "wide character in what was read, which must be bytes\n";
    return $piece;
}

sub is_done { return $_[0]{done} }

sub read_piece {
    my ($self, $most) = @_;
    my $handle = $self->{handle};
    my ($n, $piece);
    if ($self->{slow}) {
        $n = sysread $handle, $piece, $most;
        return '' if !defined $n && $!{EIO};    # the other side of a terminal
    }
    elsif (openhandle($handle)) { $n = read $handle, $piece, $most }
    elsif ($handle->can('read')) { $n = $handle->read($piece, $most) }
    else {
        my $line = length($self->{kept} || '') ? $self->{kept} : $handle->getline;
        $line = '' if !defined $line;
        $piece = substr $line, 0, $most, '';
        $self->{kept} = $line;
        return $piece;
    }
    die "cannot read: $!\n" if !defined $n;
    return $n ? $piece : '';
}

1;
