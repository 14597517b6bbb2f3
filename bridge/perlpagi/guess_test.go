package perlpagi_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
)

func TestGuess(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"use Future::AsyncAwait;\nasync sub app { }": "it uses Future::AsyncAwait",
		"  use PAGI::App::Router;\n":                 "it uses PAGI::App::Router",
		"require PAGI;":                              "it uses PAGI",
		"my $app = async   sub { };":                 "it has an async sub",
		"PAGI::App::File->new(root => '.')->to_app":  "it uses PAGI::App::File",
		"sub { [200, [], ['hello']] }":               "",
		"# use PAGI;\nsub { }":                       "",
		"=pod\n\nuse PAGI;\n\n=cut\n\nsub { }":       "",
		"sub { }\n__END__\nuse PAGI;\n":              "",
		"sub { }\n\n=head1 NAME\n\nuse PAGI;\n":      "",
		"use PAGINATION;\nsub { }":                   "",
		"my $text = 'an async sub'; sub { }":         "",
		"":                                           "",
	} {
		if got := perlpagi.GuessCode([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestModuleNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"PAGI::App::File": true, "Args": true, "app.pl": false, "a/b": false, "::A": false, "A::": false} {
		if got := perlpagi.IsModule(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
