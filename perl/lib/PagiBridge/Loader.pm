package PagiBridge::Loader;

use strict;
use warnings;

use Scalar::Util qw(blessed reftype);
use overload ();

use PagiBridge::Usual ();

# run evaluates its first argument. It stands before every variable and every stricture of this
# file, so that the application's code sees neither.
sub run {
    ## no critic (ProhibitNoStrict ProhibitNoWarnings ProhibitStringyEval RequireFinalReturn)
    no strict;
    no warnings;
    eval shift;
}

=head1 NAME

PagiBridge::Loader - loads a PSGI application from a file or from code

=head1 SYNOPSIS

    my $app = PagiBridge::Loader::load_file('/srv/site/app.psgi');
    my $app = PagiBridge::Loader::load_code('sub { [200, [], ["hi"]] }');

=head1 DESCRIPTION

Both functions return a code reference, or die with a message that can be shown to users. A
file is compiled in a package of its own, with C<$0> set to its name (for FindBin) and an empty
C<@ARGV> (for frameworks that look for commands there). Code is compiled in C<main>, into which
perl's C<-M> imports, without strict and warnings, as perl's C<-e> is.

An application is a code reference or an object: with a C<to_app> method, one that can be
called as code, or with a C<call> method. A file that names L<Plack::Loader> or
L<Plack::Runner> and starts a server by it is loaded up to that point. The application is the
one that it would have served. A file that looks at its C<caller> is expected to start its
server only as the main program.

=cut

my $count = 0;

sub load_file {
    my ($file) = @_;
    return application(load_value($file), $file);
}

sub load_code {
    my ($code) = @_;
    return application(load_value(undef, $code), '-e');
}

# load_value returns what a file, or code, evaluates to.
sub load_value {
    my ($file, $code) = @_;
    local @ARGV = ();
    return evaluate($code, 'main', "\n#line 1 \"-e\"\n$code") if !defined $file;
    die "$file: no such file\n" if !-e $file;
    die "$file: is not a file\n" if -d _;
    local $0 = $file;
    die "$file: cannot be read by the user @{[getpwuid($>) // $>]}\n" if !-r _;
    # do FILE leaves its error in $@; it must not get lost in the eval around it.
    return evaluate(text($file), sandbox(), 'my $app = do $_[0]; die $@ if !defined $app && $@ ne ""; $app', $file);
}

sub sandbox { return sprintf '%s::Sandbox%d', __PACKAGE__, ++$count }

# evaluate runs code in a package and returns its value, or dies with an error that ends in a
# newline. $text is the source in which a call that starts a server is looked for.
sub evaluate {
    my ($text, $package, $code, @args) = @_;
    my ($result, $error, $served);
    PagiBridge::Usual::offer();
    {
        local $@;
        $result = starts_server($text) ? beside_stand_in(\$served, "package $package; $code", @args) : run("package $package; $code", @args);
        $error  = $@ if ref $@ || $@ ne '';
    }
    PagiBridge::Usual::withdraw();
    # The file, or its $SIG{__DIE__}, may have caught the exception that ends the server's run.
    return $served if defined $served;
    return $result if !defined $error;
    $error = "$error";
    $error =~ s/\s+\z//;
    die "$error\n";
}

# starts_server reports whether a file may start a server of its own. A file that looks at its
# caller starts one only as the main program.
sub starts_server {
    my ($text) = @_;
    return $text =~ /\bPlack::(?:Runner|Loader)\b/ && $text !~ /\bcaller\b/;
}

# beside_stand_in runs code while a stand-in for Plack::Loader catches the application that
# would be served. Only files that name the module get the stand-in, because Catalyst, for
# example, derives a class from the real one.
sub beside_stand_in {
    my ($served, @code) = @_;
    local $INC{'Plack/Loader.pm'} = __FILE__;
    no warnings qw(once redefine);
    local *Plack::Loader::new         = sub { return bless {}, shift };
    local *Plack::Loader::watch       = sub { return };
    local *Plack::Loader::guess       = sub { return 'PagiBridge' };
    local *Plack::Loader::env         = sub { return \%ENV };
    local *Plack::Loader::preload_app = sub { my ($self, $build) = @_; $self->{app} = $build->(); return };
    local *Plack::Loader::run         = sub { my ($self, $server, $build) = @_; return $server->run($build ? $build->() : $self->{app}) };
    local *Plack::Loader::auto        = sub { return bless $served, 'PagiBridge::Loader::Server' };
    local *Plack::Loader::load        = *Plack::Loader::auto{CODE};
    return run(@code);
}

# text returns the content of a file, at most 1 MB.
sub text {
    my ($file) = @_;
    return '' if !-f $file;
    open my $in, '<', $file or return '';
    read $in, my $text, 1 << 20;
    return defined $text ? $text : '';
}

sub application {
    my ($result, $file, $made) = @_;
    return $result if (reftype($result) || '') eq 'CODE';
    if (blessed $result) {
        die "$file: " . ref($result) . " is a PAGI application in Perl; a PSGI application is wanted here\n" if ref($result) =~ /\APAGI\b/;
        # to_app may return the object itself.
        return application($result->to_app, $file, 1) if !$made && $result->can('to_app');
        return \&{$result} if overload::Method($result, '&{}');
        return sub { $result->call(@_) } if $result->can('call');
    }
    my $got = !defined $result ? 'nothing' : ref $result ? 'a reference to ' . ref $result : "'$result'";
    die "$file: the file must end with the application, a code reference; it returned $got\n";
}

{
    # The server that a file is given to start while it is loaded.
    package PagiBridge::Loader::Server;

    sub run {
        my ($self, $app) = @_;
        $$self = $app;
        local $SIG{__DIE__};
        die "the application is served by pagi-bridge\n";
    }
}

1;
