package psgi

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// warmCode tells which requests the process that has loaded it, and this one, have had before.
const warmCode = `my (@had, $tidied); my $loaded = $$;
sub {
	my ($env) = @_;
	my $path = $env->{PATH_INFO};
	return [200, [], [join ' ', ($$ == $loaded ? 'own' : 'forked'), @had, 'tidied=' . ($tidied || 0)]] if $path eq '/had';
	push @had, "$env->{REQUEST_METHOD}:$env->{SCRIPT_NAME}:$path?$env->{QUERY_STRING}:$env->{HTTP_HOST}:$env->{REMOTE_ADDR}";
	push @{ $env->{'psgix.cleanup.handlers'} }, sub { $tidied++ };
	die "dead while it warms up\n" if $path eq '/die';
	return [404, [], ['none']] if $path eq '/missing';
	return sub { my $w = $_[0]->([200, []]); $w->write('piece'); $w->close } if $path eq '/stream';
	return sub { $_[0]->([200, [], ['late']]) } if $path eq '/late';
	return sub { } if $path eq '/never';
	return sub { my $w = $_[0]->([200, []]); $w->write('x' x 1048576) while 1 } if $path eq '/endless';
	return 'nothing' if $path eq '/wrong';
	open my $body, '<', \(my $text = "a\nb\n");
	return [200, [], $path eq '/handle' ? $body : ['ok']];
}`

func TestWarmup(t *testing.T) {
	t.Parallel()
	for name, preload := range map[string]bool{"own": false, "forked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mount(t, PSGI{
				Code: warmCode, RootPath: "/shop", Processes: worker.Processes{Workers: 1, Preload: preload},
				Warmup: []string{"/", "/a%20b?q=1", "/handle", "/stream", "/late", "/die", "/missing", "/never", "/endless", "/wrong"},
			})
			const before = "GET:/shop:"
			want := name + " "
			for _, target := range []string{"/?", "/a b?q=1", "/handle?", "/stream?", "/late?", "/die?", "/missing?", "/never?", "/endless?", "/wrong?"} {
				want += before + target + ":localhost:127.0.0.1 "
			}
			want += "tidied=9"
			if got := p.get("/had").body; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			for _, line := range []string{
				"warmup: GET /die: it died: dead while it warms up", "warmup: GET /missing: it answers 404", "warmup: GET /never: no answer came",
				"warmup: GET /endless: it died: the answer has no end", "warmup: GET /wrong: the application returned",
			} {
				p.log.WaitFor(t, line)
			}
			if text := p.log.String(); strings.Count(text, "warmup: GET") != 5 {
				t.Errorf("the log has more warnings:\n%s", text)
			}
		})
	}
}

func TestWarmupTargets(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"index": "begins with a slash", "//host/": "begins with a slash", "": "begins with a slash", "/a b": "no blanks", "/#top": "no fragment",
		"/%zz": "invalid URL escape",
	} {
		_, err := PSGI{Code: "sub {}", Warmup: []string{target}}.Build()
		if err == nil || !strings.Contains(err.Error(), "warmup: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", target, err)
		}
	}
	if _, err := (PSGI{Code: "sub {}", Warmup: make([]string, 101)}).Build(); err == nil || !strings.Contains(err.Error(), "may have 100") {
		t.Error(err)
	}
	if _, err := (PSGI{Code: "sub {}", Loop: "true", Warmup: []string{"/"}}).Build(); err == nil || !strings.Contains(err.Error(), "warmup") {
		t.Error(err)
	}
}
