# The applications of Plack's own conformance suite, with Plack's Lint around them.
use strict;
use warnings;

use Plack::Middleware::Lint;
use Plack::Test::Suite;

Plack::Middleware::Lint->wrap(Plack::Test::Suite->test_app_handler);
