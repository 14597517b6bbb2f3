use strict;
use warnings;

# Without async and await, and an object with to_app.

package My::App;

sub new { my ($class, %self) = @_; return bless \%self, $class }

sub to_app {
    my ($self) = @_;
    return sub {
        my ($scope, $receive, $send) = @_;
        return Future->fail("Unsupported scope type: $scope->{type}\n") if $scope->{type} ne 'http';
        return $send->({ type => 'http.response.start', status => 200, headers => [] })
            ->then(sub { $send->({ type => 'http.response.body', body => $self->{text} }) });
    };
}

package main;

My::App->new(text => 'plain');
