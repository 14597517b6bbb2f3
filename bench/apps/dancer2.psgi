# A page made of a template, in Dancer2 with Template::Tiny.
use strict;
use warnings;

package HelloDancer;
use Dancer2;
use File::Basename ();

set charset  => 'UTF-8';
set logger   => 'null';
set views    => File::Basename::dirname(__FILE__) . '/views';
set template => 'tiny';
set layout   => undef;

get '/' => sub { return template 'hello', { name => 'World', items => [1 .. 5] } };

HelloDancer->to_app;
