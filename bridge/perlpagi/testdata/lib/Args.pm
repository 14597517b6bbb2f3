package Args;

use strict;
use warnings;

use Future::AsyncAwait;

# An application in a module, with arguments.

sub new { my ($class, %args) = @_; die "text is missing\n" if !defined $args{text}; return bless {%args}, $class }

sub to_app {
    my ($self) = @_;
    return async sub {
        my ($scope, $receive, $send) = @_;
        die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'http';
        await $send->({ type => 'http.response.start', status => 200 });
        await $send->({ type => 'http.response.body', body => join ' ', map {"$_=$self->{$_}"} sort keys %$self });
    };
}

1;
