package PagiBridge::Loader;

use strict;
use warnings;

use Scalar::Util qw(blessed reftype);

=head1 NAME

PagiBridge::Loader - loads a PSGI application from a file or from code

=head1 SYNOPSIS

    my $app = PagiBridge::Loader::load_file('/srv/site/app.psgi');
    my $app = PagiBridge::Loader::load_code('sub { [200, [], ["hi"]] }');

=head1 DESCRIPTION

Both return a code reference or die with a message that is fit to be shown. The
application is compiled in a package of its own, with C<$0> set to its file (for
FindBin) and an empty C<@ARGV> (for frameworks that look for commands there). An
object with a C<to_app> method is accepted as Plack accepts it.

=cut

my $count = 0;

sub load_file {
    my ($file) = @_;
    die "$file: no such file\n" if !-e $file;
    die "$file: is not a file\n" if -d _;
    local $0    = $file;
    local @ARGV = ();
    my $result = in_sandbox('do $_[0]', $file);
    die compile_error($file, $@) if !defined $result && $@ ne '';
    die "$file: cannot be read: $!\n" if !defined $result && $! && !-r $file;
    return application($result, $file);
}

sub load_code {
    my ($code) = @_;
    local @ARGV = ();
    my $result = in_sandbox("\n#line 1 \"-e\"\n$code");
    die compile_error('-e', $@) if !defined $result && $@ ne '';
    return application($result, '-e');
}

# in_sandbox evaluates code in a package of its own and leaves the error in $@.
sub in_sandbox {
    my ($code, @args) = @_;
    my $package = sprintf '%s::Sandbox%d', __PACKAGE__, ++$count;
    ## no critic (ProhibitStringyEval)
    my $sub = eval "package $package; sub { $code\n}" or return;
    my $result = eval { $sub->(@args) };
    return $result;
}

sub compile_error {
    my ($file, $error) = @_;
    $error = "$error";
    $error =~ s/\s+\z//;
    return "$error\n";
}

sub application {
    my ($result, $file) = @_;
    return $result if (reftype($result) || '') eq 'CODE';
    return $result->to_app if blessed $result && $result->can('to_app');
    my $got = !defined $result ? 'nothing' : ref $result ? 'a reference to ' . ref $result : "'$result'";
    die "$file: the file must end with the application, a code reference; it returned $got\n";
}

1;
