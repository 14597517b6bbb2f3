use strict;
use warnings;

sub {
    my $env = shift;
    my $length = $env->{CONTENT_LENGTH} || 0;
    $env->{'psgi.input'}->read(my $body, $length) if $length;
    $body //= '';
    return [200, ['Content-Type' => 'text/plain'], ["PSGI says hi\nBody: $body"]];
};
