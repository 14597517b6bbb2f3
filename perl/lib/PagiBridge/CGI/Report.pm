package PagiBridge::CGI::Report;

use strict;
use warnings;

=head1 NAME

PagiBridge::CGI::Report - tells which modules a script has loaded while it ran

=head1 SYNOPSIS

    require PagiBridge::CGI::Report;              # before the script is compiled
    PagiBridge::CGI::Report::begin($dir, @INC);   # in the process that runs it

=head1 DESCRIPTION

Writes the keys of C<%INC> that were added to F<$dir/loaded-PID>, one per line, when all
of the script's own C<END> blocks have run. Only modules are told of that come from one of the
directories given: those who load others of the same name by the request are of no use.

=cut

my ($directory, @library, %before);

sub begin {
    ($directory, @library) = @_;
    %before = %INC;
    return;
}

# This block is compiled before all others, and runs after them.
END {
    local ($@, $!, $?, $_);
    write_report() if defined $directory;
}

sub write_report {
    my @new = grep { !$before{$_} && /[.]pm\z/ && defined $INC{$_} } keys %INC;
    @new = grep { my $key = $_; grep { $INC{$key} eq "$_/$key" } @library } @new;
    open my $out, '>', "$directory/loaded-$$" or return;    # the gateway does without
    print {$out} map {"$_\n"} @new;
    return close $out;
}

1;
