# The same four routes in each framework: a page, a form, an upload, a download.
use strict;
use warnings;

package DancerApp;
use Dancer2;
use Digest::SHA;

set charset => 'UTF-8';
set logger  => 'console';

get '/' => sub { template_page('Dancer2') };

post '/form' => sub {
    content_type 'text/plain; charset=utf-8';
    return join "\n", map { "$_=" . body_parameters->get($_) } sort keys %{ body_parameters() };
};

post '/upload' => sub {
    my $upload = upload('file');
    my $sha    = Digest::SHA->new(256)->addfile($upload->tempname);
    content_type 'text/plain';
    return join ' ', $upload->filename, $upload->size, $sha->hexdigest;
};

get '/download' => sub {
    my $blocks = query_parameters->get('blocks');
    delayed {
        response_header 'Content-Type' => 'application/octet-stream';
        flush;
        content sprintf('%-1023s', $_) . "\n" for 1 .. $blocks;
        done;
    };
};

sub template_page { return "<!doctype html><title>$_[0]</title><p>Gr\x{fc}\x{df}e \x{263a}" }

DancerApp->to_app;
