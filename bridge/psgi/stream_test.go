package psgi

import (
	"context"
	"strings"
	"testing"
	"time"
)

// A worker that waits for the next piece of a pipe or socket notices that the client has left.
func TestClientThatLeavesAStream(t *testing.T) {
	for name, body := range map[string]string{
		"a program that writes nothing more":           `open my $in, '-|', 'echo a; exec sleep 60' or die; $in`,
		"a program that does not listen to PIPE":       `open my $in, '-|', 'trap "" PIPE; echo a; exec sleep 60' or die; $in`,
		"a pipe whose other end stays open":            `pipe my $in, $main::out or die; syswrite $main::out, "a\n"; $in`,
		"a socket whose other end stays open":          `use Socket; socketpair my $in, $main::out, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die; syswrite $main::out, "a\n"; $in`,
		"a pipe whose signals interrupt the waiting":   `$SIG{ALRM} = sub { Time::HiRes::ualarm(1000) }; Time::HiRes::ualarm(1000); pipe my $in, $main::out or die; syswrite $main::out, "a\n"; $in`,
		"a delayed answer with a pipe that stays open": `pipe my $in, $main::out or die; syswrite $main::out, "a\n"; my $late = $in; return sub { $_[0]->([200, [], $late]) }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := code(t, `use Time::HiRes (); sub { return [200, [], [$$]] if $_[0]{PATH_INFO} eq '/pid'; [200, [], do { `+body+` }] }`)
			pid := m.get("/pid").body
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if r := m.doContext(ctx, call{path: "/"}, func(string) { leave() }); r.body != "a\n" {
				t.Errorf("%q, %v", r.body, r.err)
			}
			began := time.Now()
			if r := m.get("/pid"); r.body != pid || time.Since(began) > 20*time.Second {
				t.Errorf("the worker was %s, then %+v after %v", pid, r, time.Since(began))
			}
		})
	}
}

// An answer whose body cannot be read to its end is cut, not complete.
func TestBodyThatCannotBeRead(t *testing.T) {
	const reset = `use Socket; socket(my $l, AF_INET, SOCK_STREAM, 0); bind $l, pack_sockaddr_in(0, INADDR_LOOPBACK); listen $l, 1;
		socket(my $in, AF_INET, SOCK_STREAM, 0); connect $in, getsockname $l; accept my $out, $l; setsockopt $out, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0; `
	for name, c := range map[string]struct{ perl, body, want string }{
		"a socket that is reset at once": {reset + `close $out; $in`, "", "Connection reset by peer"},
		"a socket that is reset later": {reset + `syswrite $out, "head\n"; no warnings 'redefine'; my $wait = PagiBridge::Worker->can('wait_for');
			*PagiBridge::Worker::wait_for = sub { if ($out) { close $out; undef $out } $wait->(@_) }; $in`, "head\n", "Connection reset by peer"},
		"a directory":                   {`open my $in, '<', '/' or die; $in`, "", "Is a directory"},
		"an IO::File of a directory":    {`require IO::File; IO::File->new('/', 'r')`, "", "Is a directory"},
		"a handle that is only written": {`open my $in, '>', '/dev/null' or die; $in`, "", "Bad file descriptor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := code(t, `sub { [200, [], do { `+c.perl+` }] }`).get("/")
			if r.err == nil || r.ended || r.body != c.body || !strings.Contains(r.err.Error(), "reading the body: "+c.want) {
				t.Errorf("%q, ended %v, error %v; want %q and %q", r.body, r.ended, r.err, c.body, c.want)
			}
		})
	}
}
