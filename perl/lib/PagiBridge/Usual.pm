package PagiBridge::Usual;

use strict;
use warnings;

=head1 NAME

PagiBridge::Usual - modules that other servers have loaded before the application

=head1 SYNOPSIS

    PagiBridge::Usual::offer();
    load_the_application();
    PagiBridge::Usual::withdraw();

    Plack::Util::header_get($headers, 'X-A');    # loads Plack::Util now

=head1 DESCRIPTION

Some applications call functions of Plack without loading its modules. That works under plackup
and Starman, which are made of Plack. This runtime is not made of Plack, so it loads each of
the modules at the first call of one of its functions.

=cut

our $AUTOLOAD;
my @modules = qw(Plack::Util Plack::Builder Plack::Loader Plack::Runner HTTP::Date HTTP::Status);

=head1 FUNCTIONS

=head2 offer

=cut

sub offer {
    no strict 'refs';
    for my $module (grep { !$INC{ path($_) } && !defined &{"${_}::AUTOLOAD"} } @modules) {
        *{"${module}::AUTOLOAD"} = sub {
            no strict 'refs';
            my $name = $AUTOLOAD;
            return if $name =~ /::DESTROY\z/;
            take_back($module);
            my (undef, $file, $line) = caller;
            my $path = path($module);
            if (!eval { require $path; 1 } || !defined &$name) {
                die "Undefined subroutine &$name called at $file line $line.\n" . ($@ ? "($module cannot be loaded: $@)\n" : '');
            }
            goto &$name;
        };
    }
    return;
}

=head2 withdraw

To be called when the application is loaded. It removes the stand-ins of modules that the
application has loaded itself.

=cut

sub withdraw {
    take_back($_) for grep { $INC{ path($_) } } @modules;
    return;
}

sub take_back {
    my ($module) = @_;
    no strict 'refs';
    delete ${"${module}::"}{AUTOLOAD};
    return;
}

sub path {
    my ($module) = @_;
    $module =~ s{::}{/}g;
    return "$module.pm";
}

1;
