use strict;
use warnings;

use Digest::SHA;
use Mojolicious::Lite;

app->secrets(['testing']);
app->log->level('warn');
app->max_request_size(0);

get '/' => sub { shift->render(text => "<!doctype html><title>Mojolicious</title><p>Gr\x{fc}\x{df}e \x{263a}") };

post '/form' => sub {
    my $c = shift;
    my $p = $c->req->body_params->to_hash;
    $c->res->headers->content_type('text/plain; charset=utf-8');
    $c->render(text => join "\n", map {"$_=$p->{$_}"} sort keys %$p);
};

post '/upload' => sub {
    my $c      = shift;
    my $upload = $c->req->upload('file');
    my $sha    = Digest::SHA->new(256);
    my ($asset, $offset) = ($upload->asset, 0);
    while (length(my $chunk = $asset->get_chunk($offset))) {
        $sha->add($chunk);
        $offset += length $chunk;
    }
    $c->render(text => join(' ', $upload->filename, $upload->size, $sha->hexdigest), format => 'txt');
};

get '/download' => sub {
    my $c      = shift;
    my $blocks = $c->param('blocks');
    my $n      = 0;
    $c->res->headers->content_type('application/octet-stream');
    my $next;
    $next = sub {
        my $c = shift;
        return $c->write_chunk('') if $n++ == $blocks;
        $c->write_chunk(sprintf('%-1023s', $n) . "\n", $next);
    };
    $c->$next;
};

app->start;
