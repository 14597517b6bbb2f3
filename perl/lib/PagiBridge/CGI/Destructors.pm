package PagiBridge::CGI::Destructors;

use strict;
use warnings;

=head1 NAME

PagiBridge::CGI::Destructors - finds out whether the end of an object could have an effect

=head1 SYNOPSIS

    PagiBridge::CGI::Destructors::watch(sub { my ($code) = @_; ...; return $is_harmless }, @names);
    ... code runs ...
    my $maybe = PagiBridge::CGI::Destructors::found();

=head1 DESCRIPTION

A class gets a destructor with a new name in its symbol table, or with code for a name that exists. So C<found> compares how
many names each package has, and looks only at packages that have others. It writes to no symbol table, because each page
that a forked process writes to costs a copy of it. Perl tells the number of names without that from 5.26 on.

This module loads no other module, because it is loaded before a script.

=cut

# The methods that perl calls when an object is destroyed.
my @METHODS = qw(DESTROY AUTOLOAD);

my ($is_harmless, $found);
my (@tables, @names, @counts);    # packages, with how many names each has
my (%seen, @slots, %harmless);    # the names in them that are a destructor's
my $counts_are_read = $] >= 5.026;

=head1 FUNCTIONS

=head2 watch($is_harmless, @names)

C<$is_harmless> is called with a reference to each destructor. Those with one of the names are harmless as well.

=cut

sub watch {
    ($is_harmless, my @harmless) = @_;
    %harmless = map { $_ => 1 } @harmless;
    note_table('main::');
    return;
}

=head2 noted

Returns references to what C<found> knows, for code that has no time to call it: the packages, how many names each has, and for each
symbol that is or may become a destructor's the code that it has had, or 0. While all that is the same, there is no new destructor.

=cut

sub noted { return \(@tables, @counts, @slots) }

=head2 found

Returns whether any class has a destructor that is not harmless. Once it has returned true, it always does.

=cut

sub found {
    return 1 if $found;
    my @changed;
    for my $at (0 .. $#tables) {
        push @changed, $at if ($counts_are_read ? scalar %{ $tables[$at] } : keys %{ $tables[$at] }) != $counts[$at];
    }
    while (@changed) {
        push @changed, look_at_names(shift @changed);
    }
    for my $slot (@slots) {
        my $code = *{ $slot->{glob} }{CODE};
        undef $code if $code && !defined &{$code};    # only declared
        next if ($code || 0) == $slot->{code};
        $slot->{code} = $code || 0;
        $found = 1 if $code && !$is_harmless->($code);
    }
    return $found;
}

# note_table adds a package to @tables and returns its index.
sub note_table {
    my ($name) = @_;
    no strict 'refs';
    push @tables, \%{$name};
    push @names,  $name eq 'main::' ? '' : $name;
    push @counts, -1;
    return $#tables;
}

# look_at_names notes the names of a package, and returns the indexes of the new packages in
# it.
sub look_at_names {
    my ($at) = @_;
    my ($table, $prefix) = ($tables[$at], $names[$at]);
    my $count = $counts_are_read ? scalar %{$table} : keys %{$table};
    my $more  = $counts[$at] < 0 ? $count : $count - $counts[$at];
    $counts[$at] = $count;
    for my $method (grep { exists $table->{$_} } @METHODS) {
        no strict 'refs';
        my $name = $prefix . $method;
        next if $seen{$name}++;
        my $glob = \*{$name};
        push @slots, { glob => $glob, code => $harmless{$name} && *{$glob}{CODE} || 0 };
        $more--;
    }
    return if !$more;    # perl notes the name of a method that it has looked for in vain; the others cost a page for each few
    my ($name, @new);
    keys %{$table};
    while (defined($name = each %{$table})) {    # makes no list: some packages have many names
        next if substr($name, -2) ne '::' || $name eq 'main::' || $seen{ $prefix . $name }++;
        push @new, $prefix . $name;
    }
    return map { note_table($_) } @new;
}

1;
