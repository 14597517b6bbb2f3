use strict;
use warnings;

# Answers with what an application gets; below /status/NNN with that status, at /go with a redirect, at /cookie with cookies.
sub {
    my $env  = shift;
    my $path = $env->{PATH_INFO};
    return [$1, ['Content-Type' => 'text/html'], ["<p>status $1</p>\n"]] if $path =~ m{^/status/(\d+)$};
    return [302, [Location => '/there', 'Content-Type' => 'text/plain'], ["there\n"]] if $path eq '/go';
    return [200, ['Set-Cookie' => 'a=1; path=/', 'Set-Cookie' => 'b=2', 'Content-Type' => 'text/plain'], ["cookies\n"]]
        if $path eq '/cookie';
    my $body = '';
    $env->{'psgi.input'}->read($body, $env->{CONTENT_LENGTH}) if $env->{CONTENT_LENGTH};
    my @lines = map {"$_=$env->{$_}"}
        grep {defined $env->{$_} && length $env->{$_}} grep {/^(REQUEST_METHOD|SCRIPT_NAME|PATH_INFO|QUERY_STRING|CONTENT_TYPE|CONTENT_LENGTH|SERVER_PROTOCOL|REQUEST_URI|HTTP_HOST|HTTP_X_SHOP)$/}
        sort keys %$env;
    push @lines, "scheme=$env->{'psgi.url_scheme'}", 'home=' . ($ENV{SHOP_HOME} // ''), 'mode=' . ($ENV{PLACK_ENV} // ''), "body: $body";
    return [200, ['Content-Type' => 'text/plain; charset=utf-8', 'X-App' => 'shop'], [join("\n", @lines), "\n"]];
};
