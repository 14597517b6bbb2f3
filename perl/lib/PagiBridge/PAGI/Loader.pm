package PagiBridge::PAGI::Loader;

use strict;
use warnings;

use Scalar::Util qw(blessed reftype);

use PagiBridge::Loader ();

=head1 NAME

PagiBridge::PAGI::Loader - loads a PAGI application from a file or a module

=head1 SYNOPSIS

    my $app = PagiBridge::PAGI::Loader::load(app => '/srv/site/app.pl');
    my $app = PagiBridge::PAGI::Loader::load(module => 'PAGI::App::File', args => [root => '/srv/www']);

=head1 DESCRIPTION

A file returns a code reference or an object with C<to_app>. A module is made by C<new> with the arguments, and
has C<to_app>. Errors are sentences for people.

=cut

sub load {
    my (%config) = @_;
    return load_module($config{module}, @{ $config{args} || [] }) if defined $config{module};
    my $file = $config{app};
    return application($config{code}, PagiBridge::Loader::load_value(undef, $config{code})) if defined $config{code};
    return application($file, PagiBridge::Loader::load_value($file));
}

sub load_module {
    my ($module, @args) = @_;
    die "'$module' is no name of a module\n" if $module !~ /\A\w+(?:::\w+)*\z/;
    my $path = "$module.pm";
    $path =~ s{::}{/}g;
    local @ARGV = ();
    if (!eval { require $path; 1 }) {
        die "$module: $@";
    }
    die "$module: the module has no method 'new'\n" if !$module->can('new');
    my $app = eval { $module->new(@args) };
    die "$module: " . PagiBridge::PAGI::text_of($@) . "\n" if !defined $app;
    return application($module, $app);
}

sub application {
    my ($what, $result) = @_;
    # to_app may return the object itself.
    for (1 .. 2) {
        return $result if (reftype($result) || '') eq 'CODE' && !(blessed $result && $result->can('to_app'));
        last           if !(blessed $result && $result->can('to_app'));
        $result = $result->to_app;
    }
    my $got = !defined $result ? 'nothing' : ref $result ? 'a reference to ' . ref $result : "'$result'";
    die "$what: the file must end with the application, a code reference or an object with to_app; it returned $got\n";
}

=head2 is_seed($text)

Guesses whether an application was written for specification 0.1, that of PAGI 0.001006: it uses modules of that
release, or what only that specification has.

=cut

sub is_seed {
    my ($text) = @_;
    for my $file (grep {m{\APAGI(?:/.*)?\.pm\z}} keys %INC) {
        my $module = $file =~ s/\.pm\z//r =~ s{/}{::}gr;
        my $version = eval { no strict 'refs'; ${"${module}::VERSION"} };
        return $version < 0.002 if defined $version && $version =~ /\A[0-9.]+\z/;
        return 1 if $module =~ /\APAGI::(?:App::Delayed|App::SSE::Stream|Middleware::(?:Timeout|SSE::Heartbeat|WebSocket::(?:Heartbeat|Compression)))\z/;
    }
    return $text =~ /->\s*\{\s*['"]?pagi['"]?\s*\}\s*(?:->)?\s*\{\s*['"]?(?:loop|features)\b/ ? 1 : 0;
}

1;
