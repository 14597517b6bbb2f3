package Local::Greeting;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = ('greet');

sub greet { my ($whom) = @_; return "greetings, $whom" }

1;
