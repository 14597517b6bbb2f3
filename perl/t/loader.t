use strict;
use warnings;

use File::Spec ();
use File::Temp qw(tempdir);
use Test::More;

use FindBin;
use lib "$FindBin::Bin/../lib";

use PagiBridge::Loader;

my $dir = tempdir(CLEANUP => 1);

sub file {
    my ($name, $content) = @_;
    my $path = File::Spec->catfile($dir, $name);
    open my $out, '>', $path or die "$path: $!";
    print {$out} $content;
    close $out or die "$path: $!";
    return $path;
}

sub refusal {
    my ($load) = @_;
    return eval { $load->(); 1 } ? 'loaded' : $@;
}

my $app = PagiBridge::Loader::load_file(file('plain.psgi', 'sub { "called" }'));
is $app->(), 'called', 'a file';

$app = PagiBridge::Loader::load_file(file('names.psgi', 'my @seen = ($0, __FILE__, scalar @ARGV, __PACKAGE__); sub { @seen }'));
my ($zero, $file, $args, $package) = $app->();
is $zero, File::Spec->catfile($dir, 'names.psgi'), '$0 is the file';
is $file, $zero, 'so is __FILE__';
is $args, 0, '@ARGV is empty';
isnt $package, 'main', 'a package of its own';
isnt $package, (PagiBridge::Loader::load_file($file)->())[3], 'for each';

{
    package Component;
    sub new { bless {}, shift }
    sub to_app { sub {'component'} }
}
is PagiBridge::Loader::load_code('Component->new')->(), 'component', 'an object with to_app';
{
    package Itself;
    use overload '&{}' => sub { my ($self) = @_; sub {'itself'} }, fallback => 1;
    sub new { bless {}, shift }
    sub to_app { $_[0] }
}
{
    local $SIG{__WARN__} = sub { die @_ };    # of deep recursion
    is eval { PagiBridge::Loader::load_code('use warnings; Itself->new')->() } // $@, 'itself', 'an object whose to_app returns it';
    like refusal(sub { PagiBridge::Loader::load_code('package Nothing; sub to_app { $_[0] } bless {}') }), qr/returned a reference to Nothing/, 'and which cannot be called';
}
for my $case (
    ['a server that the file starts',                          'SERVE'],
    ['with an exception handler that throws another text',     '$SIG{__DIE__} = sub { die "own: $_[0]" }; SERVE'],
    ['with an exception handler that ends the process',        '$SIG{__DIE__} = sub { CORE::exit 7 }; SERVE'],
    ['in an eval',                                             'eval { SERVE }; 1'],
    ['in an eval that throws its own exception',               'eval { SERVE; 1 } or die "no server: $@"'],
    ['twice in evals',                                         'eval { SERVE } for 1, 2; undef'],
) {
    my ($name, $code) = @$case;
    $code =~ s/SERVE/Plack::Loader->auto(port => 1)->run(sub {'served'})/g;
    local $SIG{__DIE__};
    is eval { PagiBridge::Loader::load_code($code)->() } // $@, 'served', $name;
}
like refusal(sub { PagiBridge::Loader::load_code('Plack::Loader->auto->run(undef)') }), qr/served by pagi-bridge/, 'a server that is given nothing';
is PagiBridge::Loader::load_code('package main; my $x = 7; sub { $x }')->(), 7, 'code';
is PagiBridge::Loader::load_code('$loose = "no strict"; sub { $loose }')->(), 'no strict', 'code without strict';
is PagiBridge::Loader::load_code('sub { join ",", grep { eval "defined \$$_" } qw(code error result count package app file) }')->(), '', 'which sees no variable of the loader';
is PagiBridge::Loader::load_code('my $n = @_; sub { $n }')->(), 0, 'nor an argument';
is PagiBridge::Loader::load_code("sub { 'end' }\n__END__\nand more")->(), 'end', 'code with an __END__';
{
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    PagiBridge::Loader::load_code('my $x = "a" + undef; sub {}');
    is_deeply \@warnings, [], 'code without warnings';
    PagiBridge::Loader::load_code("use warnings;\nwarn 'now'; sub {}");
    is_deeply \@warnings, ["now at -e line 2.\n"], 'a warning has the line of the code';
}
is PagiBridge::Loader::load_code('sub { __PACKAGE__ }')->(), 'main', 'code in main';
is PagiBridge::Loader::load_code('sub { 1 } # with a comment at the end')->(), 1, 'a comment at the end';

like refusal(sub { PagiBridge::Loader::load_file("$dir/none.psgi") }), qr/none\.psgi: no such file/, 'no file';
like refusal(sub { PagiBridge::Loader::load_file($dir) }), qr/is not a file/, 'a directory';
like refusal(sub { PagiBridge::Loader::load_file(file('syntax.psgi', "\n\nmy \$x = ;\n")) }), qr/syntax error at .*syntax\.psgi line 3/, 'a syntax error';
like refusal(sub { PagiBridge::Loader::load_file(file('die.psgi', 'die {a => 1}')) }), qr/HASH/, 'an exception object';
like refusal(sub { PagiBridge::Loader::load_file(file('module.psgi', 'use No::Such; sub {}')) }), qr{No/Such\.pm}, 'a missing module';
like refusal(sub { PagiBridge::Loader::load_file(file('number.psgi', '1')) }), qr/it returned '1'/, 'no application';
like refusal(sub { PagiBridge::Loader::load_file(file('empty.psgi', '')) }), qr/it returned nothing/, 'an empty file';
like refusal(sub { PagiBridge::Loader::load_code('[]') }), qr/-e: .*a reference to ARRAY/, 'code that is no application';
like refusal(sub { PagiBridge::Loader::load_code("\nuse No::Such;") }), qr/at -e line 2/, 'code that does not compile';

local $@ = 'before';
PagiBridge::Loader::load_code('eval { die "inner" }; sub {}');
is $@, 'before', '$@ is left alone';

done_testing;
