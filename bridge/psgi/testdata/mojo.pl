# A Mojolicious application that needs an event loop.
use Mojolicious::Lite;
use Mojo::IOLoop;
use Mojo::Promise;

my ($running, @told) = ('');
hook $_ => sub { my ($server) = @_; push @told, 'server ' . ref $server } for qw(before_server before_server_start);    # its name by version

get '/'         => sub { $_[0]->render(text => 'hello') };
get '/told'     => sub { $_[0]->render(text => join ',', splice @told) };
get '/loop'     => sub { $_[0]->render(text => ref IO::Async::Loop->new) };
get '/later'    => sub { my $c = shift->render_later; Mojo::IOLoop->timer(0.01 => sub { $c->render(text => 'later') }) };
get '/promise'  => sub { my $c = shift->render_later; Mojo::Promise->timer(0.01)->then(sub { $c->render(json => { kept => 1 }) }) };
get '/url'      => sub { my $c = shift; $c->render(text => join ' ', $c->req->url->to_abs, $c->tx->remote_address, $c->url_for('/x')) };
get '/running'  => sub { $_[0]->render(text => $running) };
get '/never'    => sub { my $c = shift->render_later; $running = '/never'; $c->on(finish => sub { push @told, 'never finished' }) };
get '/die'      => sub { die "dead in Mojolicious\n" };
get '/agent'    => sub {
    my $c = shift->render_later;
    $c->ua->get($c->param('url') => sub { my ($ua, $tx) = @_; $c->render(text => 'got ' . ($tx->error ? $tx->error->{message} : $tx->res->body)) });
};
get '/chunks'   => sub {
    my $c = shift;
    my ($n, $next) = (0);
    $next = sub { my ($self) = @_; return $self->write_chunk(++$n > 3 ? '' : "chunk $n\n" => $n > 3 ? () : $next) };
    $c->$next;
};
get '/pour' => sub {
    my $c = shift;
    my ($n, $next) = (0);
    $next = sub { my ($self) = @_; push @told, "poured $n" if $n == 500; return $self->write_chunk(++$n > 500 ? '' : 'c' x 10_000 => $n > 500 ? () : $next) };
    $c->$next;
};
get '/events' => sub {
    my $c = shift;
    $c->inactivity_timeout(300);
    $c->res->headers->content_type('text/event-stream');
    $c->write;
    my ($n, $id) = (0);
    $id = Mojo::IOLoop->recurring(0.01 => sub { $c->write('data: ' . $n++ . "\n\n"); $c->finish if $n == 3 });
    $c->on(finish => sub { Mojo::IOLoop->remove($id); push @told, 'events finished' });
};
get '/forever' => sub {
    my $c = shift;
    $running = '/forever';
    $c->write_chunk('begun');
    $c->on(finish => sub { push @told, 'forever finished' });
};
post '/body'    => sub { my $c = shift; $c->render(data => $c->req->body) };
post '/upload'  => sub { my $c = shift; my $file = $c->req->upload('file'); $c->render(text => $file->filename . ' ' . $file->size . ' ' . $c->param('word')) };
websocket '/ws' => sub {
    my $c = shift;
    $c->res->headers->header('X-From' => 'mojo');
    $c->tx->with_protocols('chat');
    $c->on(message => sub { my ($self, $text) = @_; return $self->finish(4001 => 'because') if $text eq 'close'; $self->send("echo $text") });
    $c->on(binary => sub { my ($self, $bytes) = @_; $self->send({ binary => $bytes }) });
    $c->on(finish => sub { my ($self, $code, $reason) = @_; push @told, "finished $code " . ($reason // '') });
};
websocket '/json'  => sub { my $c = shift; $c->on(json => sub { my ($self, $data) = @_; $self->send({ json => { got => $data } }) }) };
websocket '/drain' => sub {
    my $c = shift;
    my ($n, $next) = (0);
    $next = sub { my ($self) = @_; return $self->finish if ++$n > 3; $self->send("message $n" => $next) };
    $c->$next;
};
websocket '/deny'  => sub { $_[0]->render(text => 'no entry', status => 403) };
app->log->level('warn');
app->secrets(['test']);
app->start;
