use strict;
use warnings;

package CatalystApp::Controller::Root;
BEGIN { $INC{'CatalystApp/Controller/Root.pm'} = __FILE__ }
use base 'Catalyst::Controller';
use Digest::SHA;
__PACKAGE__->config(namespace => '');

sub index : Path Args(0) {
    my ($self, $c) = @_;
    $c->res->content_type('text/html; charset=utf-8');
    $c->res->body("<!doctype html><title>Catalyst</title><p>Gr\x{fc}\x{df}e \x{263a}");
}

sub default : Path {
    my ($self, $c) = @_;
    $c->res->status(404);
    $c->res->body('no such page');
}

sub form : Local Args(0) {
    my ($self, $c) = @_;
    my $p = $c->req->body_parameters;
    $c->res->content_type('text/plain; charset=utf-8');
    $c->res->body(join "\n", map {"$_=$p->{$_}"} sort keys %$p);
}

sub upload : Local Args(0) {
    my ($self, $c) = @_;
    my $upload = $c->req->upload('file');
    my $sha    = Digest::SHA->new(256)->addfile($upload->tempname);
    $c->res->content_type('text/plain');
    $c->res->body(join ' ', $upload->filename, $upload->size, $sha->hexdigest);
}

sub download : Local Args(0) {
    my ($self, $c) = @_;
    $c->res->content_type('application/octet-stream');
    $c->res->write(sprintf('%-1023s', $_) . "\n") for 1 .. $c->req->query_parameters->{blocks};
    $c->res->body('') if !$c->req->query_parameters->{blocks};
}

package CatalystApp;
BEGIN { $INC{'CatalystApp.pm'} = __FILE__ }
use Catalyst;
__PACKAGE__->config(encoding => 'UTF-8', disable_component_resolution_regex_fallback => 1);
__PACKAGE__->setup;

CatalystApp->psgi_app;
