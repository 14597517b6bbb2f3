package psgi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// tenBytes makes the directory that testdata/bodies.psgi works in.
func tenBytes(t *testing.T) string {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "ten"), "0123456789")
	return dir
}

// Every kind of body is taken that Starman takes; testdata/bodies.psgi has the cases.
// docs/psgi.md tells why the others are refused.
func TestKindsOfBody(t *testing.T) {
	missing := map[string]bool{} // files that this system does not have
	read := func(name string) string {
		text, err := os.ReadFile(name)
		missing[name] = err != nil
		return string(text)
	}
	const refused = "" // with 502
	want := map[string]string{
		"array": "ab", "array of objects": "<a string of an object>", "array of numbers": "12.5-3", "tied array": "tied",
		"glob": "0123456789", "glob reference": "0123456789", "IO slot": "0123456789", "DATA": "what follows\nthe program\n",
		"IO::File": "0123456789", "IO::Handle": "0123456789", "FileHandle": "0123456789", "derived IO::File": "0123456789",
		"in memory": "in memory\nof two lines\n", "in memory, empty": "",
		"new_tmpfile": "tmpfile", "File::Temp": "temporary", "unlinked": "unlinked", "growing": "so far",
		"read from": "456789", "sysread from": "456789", "at its end": "", "beyond its end": "",
		"tied handle": "line 1\nline 2\nline 3\n",
		"layer :crlf": "a\nb\n", "layer :utf8": "caf\xe9", "layer :latin1": "caf\xe9",
		"layer :bytes": "0123456789", "layer :mmap": "0123456789", "layer :stdio": "0123456789",
		"pipe": "through a pipe", "command": "of a command\n", "socket": "of a socket", "IO::Socket": "of an IO::Socket", "FIFO": "x",
		"/proc": "pagi-worker /b\n", "/proc, empty size": read("/proc/version"), "/sys": read("/sys/kernel/mm/transparent_hugepage/enabled"),
		"/dev/null": "", "directory": "", "closed handle": "", "write only": "",
		"getline and close": "a0b\n", "getline alone": "ab", "AUTOLOAD": "autoloaded", "object overloading *{}, a getline": "<0123456789>",
		"object overloading *{}": refused, "object overloading @{}": refused, "object that is an array": refused, "object overloading its string": refused,
		"string": refused, "reference to text": refused, "hash": refused, "code": refused, "undef": refused,
	}
	m := mount(t, PSGI{App: "testdata/bodies.psgi", Name: "/b", Env: map[string]string{"D": tenBytes(t)}})
	for _, how := range []string{"body", "late"} {
		for _, name := range strings.Split(m.get("/body/").body, "\n") {
			body, known := want[name]
			if !known {
				t.Fatalf("%s: what is to come of it?", name)
			}
			if name == "/sys" && missing["/sys/kernel/mm/transparent_hugepage/enabled"] || name == "/proc, empty size" && missing["/proc/version"] {
				t.Logf("%s: this system does not have the file", name)
				continue
			}
			status := 200
			if body == refused && m.isRefused(name) {
				status = 502
			}
			r := m.get("/" + how + "/" + name)
			if how == "late" && name == "undef" {
				if r.err == nil { // it is the head of a streamed answer, whose writer is dropped
					t.Errorf("%s %s: status %d, no error", how, name, r.status)
				}
				continue
			}
			if r.statusCode() != status || r.body != body {
				t.Errorf("%s %s: status %d, %q, %v; want %d, %q", how, name, r.statusCode(), r.body, r.err, status, body)
			}
		}
	}
	if r := m.get("/body/closed"); r.body != "2" {
		t.Errorf("close was called %s times, want 2", r.body)
	}
}

// isRefused reports whether a body is invalid, as opposed to empty.
func (m *mounted) isRefused(name string) bool {
	return slices.Contains([]string{"object overloading *{}", "object overloading @{}", "object that is an array", "object overloading its string",
		"string", "reference to text", "hash", "code", "undef"}, name)
}

// Every form of status and header that Starman takes is taken, or refused with a reason.
func TestKindsOfHead(t *testing.T) {
	is := func(status int, body string, headers ...string) result {
		return result{status: status, body: body, headers: pagi.NewHeaders(headers...)}
	}
	failed := result{status: 500} // by the server, for what the pagi events do not allow
	want := map[string]result{
		"status with text": is(200, "x"), "status as a string": is(404, "x"), "status as an object": is(201, "x"), "status as a fraction": is(200, "x"),
		"status 299": is(299, "x"), "status 599": is(599, "x"), "status 999": is(999, "x"),
		"status 204 with a body": is(204, "x"), "status 304 with a body": is(304, "x", "content-type", "text/plain"),
		"status 204 with a length": is(204, "", "content-length", "0"),
		"header of a number":       is(200, "x", "x-n", "5"), "header of an object": is(200, "x", "x-o", "a string of an object"),
		"header undefined": is(200, "x", "x-u", ""), "header empty": is(200, "x", "x-e", ""), "header of blanks": is(200, "x", "x-b", "  b  "),
		"header in latin-1": is(200, "x", "x-l", "caf\xe9"), "header with UTF-8 flag": is(200, "x", "x-l", "caf\xe9"),
		"header with a newline at its end": is(200, "x", "x-n", "value"), "header folded": is(200, "x", "x-n", "a b"),
		"header with a newline": failed, "header name with :": failed, "header name with blank": failed,
		"header name with _": is(200, "x", "x_n", "a"), "header Status": is(200, "x", "status", "404"), "header Connection": is(200, "x", "connection", "close"),
		"header Keep-Alive": is(200, "x", "keep-alive", "timeout=5"), "header Date": is(200, "x", "date", "Thu, 01 Jan 1970 00:00:00 GMT"), "header Server": is(200, "x", "server", "mine"),
		"headers tied": is(200, "x", "x-t", "t"), "headers blessed": is(200, "x", "x-t", "t"), "header in the answer twice": is(200, "x", "x-t", "t", "x-t", "u"),
		"answer blessed": is(200, "x"), "four elements": is(200, "x"), "object overloading &{}": {status: 502},
		"length too long":             is(200, "x", "content-length", "5"), // the server cuts it, or answers 500
		"length too short":            is(200, "01234", "content-length", "5"),
		"length too short for a file": is(200, "01234", "content-length", "5"), "length too short for a getline": is(200, "01234", "content-length", "5"),
		"length too long for a file": is(200, "0123456789", "content-length", "50"),
		"length that is none":        is(200, "x", "content-length", "x"), // an error of the server
		"length undefined":           is(200, "x"), "length twice": is(200, "x", "content-length", "1", "content-length", "1"),
	}
	m := mount(t, PSGI{App: "testdata/bodies.psgi", Name: "/b", Env: map[string]string{"D": tenBytes(t)}})
	for _, name := range strings.Split(m.get("/head/").body, "\n") {
		expected, known := want[name]
		if !known {
			t.Fatalf("%s: what is to come of it?", name)
		}
		r := m.get("/head/" + name)
		if expected.status >= 500 && expected.body == "" {
			if r.err == nil {
				t.Errorf("%s: status %d, no error", name, r.status)
			}
			continue
		}
		if r.err != nil || r.statusCode() != expected.status || r.body != expected.body || !slices.Equal(r.headers, expected.headers) {
			t.Errorf("%s: status %d, %q, %v, error %v; want %d, %q, %v", name, r.statusCode(), r.body, r.headers, r.err, expected.status, expected.body, expected.headers)
		}
	}
	m.log.WaitFor(t, "the answer is longer than its Content-Length", `request="GET /head/length too short for a getline"`)
}

// Data of a pipe or socket is sent at once, also data that perl has read ahead of the application.
func TestStreamsAreSentAsTheyCome(t *testing.T) {
	for name, handle := range map[string]string{
		"a pipe":                 "pipe my $in, my $out or die",
		"a socket":               "use Socket; socketpair my $in, my $out, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die",
		"a socket of IO::Socket": "use IO::Socket::UNIX; use Socket; socketpair my $one, my $out, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die; my $in = IO::Socket::UNIX->new_from_fd($one, 'r+'); close $one",
	} {
		for from, start := range map[string]string{"unread": "", "after a line of it": "syswrite $out, qq(head\\n0); readline $in;"} {
			t.Run(name+" "+from, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				m := mount(t, PSGI{Env: map[string]string{"GO": dir}, Code: `use POSIX (); $SIG{CHLD} = 'IGNORE';
					sub { ` + handle + `; ` + start + `
						if (!fork) { close $in; for my $n (1 .. 3) { syswrite $out, $n; select undef, undef, undef, .005 until -e "$ENV{GO}/$n" } POSIX::_exit(0) }
						close $out; [200, [], $in] }`})
				r := m.doContext(t.Context(), call{path: "/"}, func(piece string) {
					for _, n := range piece { // the child goes on only once this piece has arrived
						writeFile(t, filepath.Join(dir, string(n)), "")
					}
				})
				if got := strings.TrimPrefix(r.body, "0"); got != "123" || !r.ended || (start != "") == (got == r.body) {
					t.Errorf("%q, ended %v, %v", r.body, r.ended, r.err)
				}
			})
		}
	}
}
