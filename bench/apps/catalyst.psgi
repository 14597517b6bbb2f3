# A page made of a template, in Catalyst with Template Toolkit.
use strict;
use warnings;

package HelloCatalyst::View::TT;
BEGIN { $INC{'HelloCatalyst/View/TT.pm'} = __FILE__ }
use base 'Catalyst::View::TT';
use File::Basename ();
__PACKAGE__->config(
    INCLUDE_PATH       => File::Basename::dirname(__FILE__) . '/views',
    TEMPLATE_EXTENSION => '.tt',
    render_die         => 1,
);

package HelloCatalyst::Controller::Root;
BEGIN { $INC{'HelloCatalyst/Controller/Root.pm'} = __FILE__ }
use base 'Catalyst::Controller';
__PACKAGE__->config(namespace => '');

sub index : Path Args(0) {
    my ($self, $c) = @_;
    $c->stash(template => 'hello.tt', name => 'World', items => [1 .. 5]);
    $c->forward($c->view('TT'));
}

package HelloCatalyst;
BEGIN { $INC{'HelloCatalyst.pm'} = __FILE__ }
use Catalyst;
__PACKAGE__->config(encoding => 'UTF-8', disable_component_resolution_regex_fallback => 1);
__PACKAGE__->setup;
__PACKAGE__->setup_components if !HelloCatalyst->component('View::TT');

HelloCatalyst->psgi_app;
