package PagiBridge::Loader;

use strict;
use warnings;

use Scalar::Util qw(blessed reftype);

# run evaluates its first argument. It stands above every variable of this file and
# without strictures, so that the application's code sees nothing of either.
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

Both return a code reference or die with a message that is fit to be shown. A file
is compiled in a package of its own, with C<$0> set to it (for FindBin) and an empty
C<@ARGV> (for frameworks that look for commands there). Code is compiled in C<main>,
where perl's C<-M> imports to, without strict and warnings, as perl's C<-e> is. An
object with a C<to_app> method is accepted as Plack accepts it.

=cut

my $count = 0;

sub load_file {
    my ($file) = @_;
    die "$file: no such file\n" if !-e $file;
    die "$file: is not a file\n" if -d _;
    local $0    = $file;
    local @ARGV = ();
    die "$file: cannot be read: $!\n" if !-r _;
    # do FILE leaves its error in $@; it must not get lost in the eval around it.
    return application(evaluate(sandbox(), 'my $app = do $_[0]; die $@ if !defined $app && $@ ne ""; $app', $file), $file);
}

sub load_code {
    my ($code) = @_;
    local @ARGV = ();
    return application(evaluate('main', "\n#line 1 \"-e\"\n$code"), '-e');
}

sub sandbox { return sprintf '%s::Sandbox%d', __PACKAGE__, ++$count }

# evaluate runs code in a package and returns its value, or dies with an error that
# ends in a newline.
sub evaluate {
    my ($package, $code, @args) = @_;
    my ($result, $error);
    {
        local $@;
        $result = run("package $package; $code", @args);
        $error  = $@ if ref $@ || $@ ne '';
    }
    return $result if !defined $error;
    $error = "$error";
    $error =~ s/\s+\z//;
    die "$error\n";
}

sub application {
    my ($result, $file) = @_;
    return $result if (reftype($result) || '') eq 'CODE';
    return $result->to_app if blessed $result && $result->can('to_app');
    my $got = !defined $result ? 'nothing' : ref $result ? 'a reference to ' . ref $result : "'$result'";
    die "$file: the file must end with the application, a code reference; it returned $got\n";
}

1;
