package psgi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Every kind of answer PSGI 1.1 knows, and the environment it demands.
func TestAnswers(t *testing.T) {
	big := strings.Repeat("x", 300_000)
	cases := []struct {
		name, perl string
		call       call
		status     int
		body       string
		headers    pagi.Headers
	}{
		{name: "an array of one", perl: `sub { [200, [], ['one']] }`, status: 200, body: "one"},
		{name: "an array of many", perl: `sub { [200, [], ['a', '', undef, 'b']] }`, status: 200, body: "ab"},
		{name: "an empty array", perl: `sub { [204, [], []] }`, status: 204},
		{name: "a large array", perl: `sub { [200, [], ['x' x 300_000]] }`, status: 200, body: big},
		{name: "latin-1 text with the UTF-8 flag", perl: `sub { my $s = "\xe9"; utf8::upgrade($s); [200, [], [$s]] }`, status: 200, body: "\xe9"},
		{name: "an object that is an array", perl: `sub { bless [200, [], ['blessed']], 'Answer' }`, status: 200, body: "blessed"},
		{name: "headers twice", perl: `sub { [200, ['Set-Cookie' => 'a=1', 'X-One' => 1, 'Set-Cookie' => 'b=2'], []] }`, status: 200,
			headers: pagi.Headers{{Name: "set-cookie", Value: "a=1"}, {Name: "x-one", Value: "1"}, {Name: "set-cookie", Value: "b=2"}}},
		{name: "a handle in memory", perl: `sub { open my $fh, '<', \"in memory"; [200, [], $fh] }`, status: 200, body: "in memory"},
		{name: "a pipe", perl: `sub { open my $fh, '-|', 'echo piped' or die; [200, [], $fh] }`, status: 200, body: "piped\n"},
		{name: "an object with getline and close", perl: `package G; sub new { bless [1..3] } sub getline { shift @{$_[0]} } sub close { $main::closed++ } package main;
			sub { $_[0]{PATH_INFO} eq '/closed' ? [200, [], [$main::closed]] : [200, [], G->new] }`, status: 200, body: "123"},
		{name: "a delayed answer", perl: `sub { sub { $_[0]->([201, ['X-Late' => 'yes'], ['late']]) } }`, status: 201, body: "late", headers: pagi.NewHeaders("x-late", "yes")},
		{name: "a streamed answer", perl: `sub { sub { my $w = $_[0]->([200, []]); $w->write($_) for 'a'..'e'; $w->close } }`, status: 200, body: "abcde"},
		{name: "a streamed answer in large pieces", perl: `sub { sub { my $w = $_[0]->([200, []]); $w->write('x' x 300_000); $w->close } }`, status: 200, body: big},
		{name: "an application with odd separators", perl: `($\, $,, $/, $") = ('-', '+', undef, '*'); sub { $_ = 'mine'; for (1) { $_[0]{'psgi.errors'}->print('a', 'b') }
			sub { my $w = $_[0]->([200, ['X-A' => 'b']]); $w->write($_) for 'a'..'c'; $w->write($_); $w->close } }`, status: 200, body: "abcmine", headers: pagi.NewHeaders("x-a", "b")},
		{name: "the server as a whole", perl: `sub { [200, [], [join '|', @{$_[0]}{qw(SCRIPT_NAME PATH_INFO REQUEST_URI)}]] }`, call: call{method: "OPTIONS", path: "*"}, status: 200, body: "|/|*"},
		{name: "a mount without its slash", perl: `sub { [200, [], [join '|', @{$_[0]}{qw(SCRIPT_NAME PATH_INFO REQUEST_URI)}]] }`, call: call{root: "/app", path: "/app"}, status: 200, body: "/app||/app"},
		{name: "a mount with its slash", perl: `sub { [200, [], [join '|', @{$_[0]}{qw(SCRIPT_NAME PATH_INFO REQUEST_URI)}]] }`, call: call{root: "/app", path: "/app/"}, status: 200, body: "/app|/|/app/"},
		{name: "a query", perl: `sub { [200, [], [$_[0]{QUERY_STRING}, ' ', $_[0]{REQUEST_URI}]] }`, call: call{path: "/a", query: "b=c&d"}, status: 200, body: "b=c&d /a?b=c&d"},
		{name: "a request body", perl: `sub { my $i = $_[0]{'psgi.input'}; read $i, my $b, 5; seek $i, 0, 0; read $i, my $c, 99; [200, [], ["$b|$c|$_[0]{CONTENT_LENGTH}"]] }`,
			call: call{method: "POST", body: "hello world"}, status: 200, body: "hello|hello world|11"},
		{name: "a request body of unknown length", perl: `sub { my $i = $_[0]{'psgi.input'}; read $i, my $c, 99; [200, [], ["$c|$_[0]{CONTENT_LENGTH}"]] }`,
			call: call{method: "PUT", body: "chunked"}, status: 200, body: "chunked|7"},
		{name: "no request body", perl: `sub { my $n = read $_[0]{'psgi.input'}, my $c, 99; [200, [], [$n, exists $_[0]{CONTENT_LENGTH} ? 'length' : 'none']] }`, status: 200, body: "0none"},
		{name: "a module and its import list", perl: `sub { [200, [], [max(1, 3, 2)]] }`, status: 200, body: "3"},
		{name: "the environment's constants", perl: `sub { my $e = shift; [200, [], [join ',', map { "$_=" . (ref $e->{$_} eq 'ARRAY' ? "@{$e->{$_}}" : $e->{$_}) }
			qw(psgi.version psgi.url_scheme psgi.multithread psgi.multiprocess psgi.run_once psgi.nonblocking psgi.streaming psgix.input.buffered psgix.harakiri psgix.cleanup)]] }`,
			status: 200, body: "psgi.version=1 1,psgi.url_scheme=http,psgi.multithread=,psgi.multiprocess=,psgi.run_once=,psgi.nonblocking=,psgi.streaming=1,psgix.input.buffered=1,psgix.harakiri=1,psgix.cleanup=1"},
		{name: "the environment's variables", perl: `sub { my $e = shift; [200, [], [join ',', map { "$_=$e->{$_}" } qw(REQUEST_METHOD SCRIPT_NAME PATH_INFO SERVER_NAME SERVER_PORT SERVER_PROTOCOL REMOTE_ADDR REMOTE_PORT HTTP_HOST)]] }`,
			call: call{path: "/p"}, status: 200,
			body: "REQUEST_METHOD=GET,SCRIPT_NAME=,PATH_INFO=/p,SERVER_NAME=example.test,SERVER_PORT=5000,SERVER_PROTOCOL=HTTP/1.1,REMOTE_ADDR=192.0.2.7,REMOTE_PORT=4711,HTTP_HOST=example.test"},
		{name: "headers that must not be passed on", perl: `sub { [200, [], [join ',', sort grep /^HTTP_/, keys %{$_[0]}]] }`,
			call: call{headers: pagi.NewHeaders("proxy", "evil", "x_forged", "1", "x-real", "1", "authorization", "Basic x")}, status: 200, body: "HTTP_AUTHORIZATION,HTTP_HOST,HTTP_X_REAL"},
		{name: "request headers twice", perl: `sub { [200, [], [$_[0]{HTTP_X_A}]] }`, call: call{headers: pagi.NewHeaders("x-a", "1", "x-b", "2", "x-a", "3")}, status: 200, body: "1, 3"},
		{name: "interim responses", perl: `sub { $_[0]{'psgix.informational'}->(103, [Link => '</a.css>; rel=preload']); [200, [], ['final']] }`, status: 200, body: "final"},
		{name: "PLACK_ENV", perl: `sub { [200, [], [$ENV{PLACK_ENV}]] }`, status: 200, body: "deployment"},
		{name: "a print to the standard output", perl: `sub { print "to the log\n"; [200, [], ['fine']] }`, status: 200, body: "fine"},
		{name: "an application that reads its standard input", perl: `my $in = <STDIN>; sub { [200, [], [defined $in ? 'something' : 'nothing']] }`, status: 200, body: "nothing"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := mount(t, PSGI{Code: c.perl, Modules: []string{"List::Util=max"}})
			if c.call.path == "" {
				c.call.path = "/"
			}
			r := m.do(c.call)
			if r.err != nil || r.status != c.status || r.body != c.body || !r.ended {
				t.Errorf("status %d, %d bytes %.200q, ended %v, error %v; want status %d, %d bytes %.200q",
					r.status, len(r.body), r.body, r.ended, r.err, c.status, len(c.body), c.body)
			}
			if c.headers != nil && fmt.Sprint(r.headers) != fmt.Sprint(c.headers) {
				t.Errorf("headers %v, want %v", r.headers, c.headers)
			}
		})
	}
}

func TestInformational(t *testing.T) {
	r := code(t, `sub { $_[0]{'psgix.informational'}->(103, [Link => '</a.css>']); [200, [], []] }`).get("/")
	if len(r.info) != 1 || r.info[0].Status != 103 || r.info[0].Headers.Get("link") != "</a.css>" {
		t.Errorf("interim responses: %v", r.info)
	}
}

// A path with a NUL is invalid; a body may contain any bytes.
func TestNUL(t *testing.T) {
	m := code(t, `sub { read $_[0]{'psgi.input'}, my $b, 99; [200, [], [$b]] }`)
	var status *pagi.StatusError
	if r := m.get("/a\x00b"); !errors.As(r.err, &status) || status.Status != 400 {
		t.Errorf("%d, %v; want 400", r.status, r.err)
	}
	if r := m.do(call{method: "POST", path: "/", body: "\x00a\x00\x00"}); r.body != "\x00a\x00\x00" {
		t.Errorf("the body came back as %q, %v", r.body, r.err)
	}
}

// What one request does with its empty input does not affect the next request.
func TestEmptyInputIsOpen(t *testing.T) {
	m := code(t, `sub { my $i = $_[0]{'psgi.input'}; my $open = defined fileno $i; seek $i, 5, 0; my $n = read $i, my $c, 99; close $i; [200, [], [$open ? "open $n" : 'closed']] }`)
	for range 3 {
		if r := m.get("/"); r.body != "open 0" {
			t.Fatalf("the input is %s", r.body)
		}
	}
	if r := m.do(call{method: "POST", body: "12345678"}); r.body != "open 3" {
		t.Errorf("one with a body is %s", r.body)
	}
}

// After every mistake of an application the log has one clear line, the client gets a 500 or 502,
// and the next request is served.
func TestMisbehaviour(t *testing.T) {
	cases := []struct {
		name, perl string
		status     int
		message    string
	}{
		{"die with text", `die "no such luck\n"`, 500, "no such luck"},
		{"die with an object that is a string", `package E1; use overload '""' => sub { 'stringly' }; package main; die bless {}, 'E1'`, 500, "an object of class E1: stringly"},
		{"die with an object that has a message", `package E2; sub message { 'in a bottle' } package main; die bless {}, 'E2'`, 500, "an object of class E2: in a bottle"},
		{"die with a plain object", `die bless {code => 42}, 'E3'`, 500, "'code' => 42"},
		{"die with a hash", `die {code => 43}`, 500, "'code' => 43"},
		{"die with an empty string", `die bless [], 'E4'`, 500, "E4"},
		{"exit", `exit 3`, 502, "exit status 3"},
		{"a signal", `kill KILL => $$; sleep 9`, 502, "killed"},
		{"close the connection and hang", `require POSIX; POSIX::close($_) for 3..20; sleep 60`, 502, "the worker died"},
		{"become another program", `exec 'true'`, 502, "the worker died"},
		{"return nothing", `return`, 502, "returned nothing"},
		{"return a string", `'hello'`, 502, "returned the string 'hello'"},
		{"return a hash", `+{}`, 502, "returned a reference to HASH"},
		{"return two elements", `[200, []]`, 502, "an array of 2 elements"},
		{"an odd number of headers", `[200, ['X-Odd'], []]`, 502, "for headers"},
		{"headers that are a hash", `[200, {}, []]`, 502, "for headers"},
		{"a status that is text", `['OK', [], []]`, 502, "status 'OK'"},
		{"a status of 100", `[100, [], []]`, 502, "status '100'"},
		{"no status", `[undef, [], []]`, 502, "status 'undef'"},
		{"a body that is a string", `[200, [], 'text']`, 502, "for a body"},
		{"no body", `[200, [], undef]`, 502, "no body"},
		{"a body without getline", `[200, [], bless {}, 'Nothing']`, 502, "an object of class Nothing"},
		{"a wide character in the body", `[200, [], ["\x{263a}"]]`, 500, "wide character in the response body"},
		{"a wide character in a header", `[200, ['X-Wide' => "\x{263a}"], []]`, 500, "wide character in the response headers"},
		{"a body whose string dies", `package D1; use overload '""' => sub { die "no string\n" }; package main; [200, [], [bless {}, 'D1']]`, 500, "no string"},
		{"a header whose string dies", `package D2; use overload '""' => sub { die "no string\n" }; package main; [200, ['X-D' => bless {}, 'D2'], []]`, 500, "no string"},
		{"a status whose string dies", `package D3; use overload '""' => sub { die "no string\n" }; package main; [bless({}, 'D3'), [], []]`, 500, "no string"},
		{"die with an object whose every method dies", `package E5; use overload '""' => sub { die 'again' }; sub isa { die 'isa' } sub can { die 'can' } package main; die bless {}, 'E5'`, 500, "an object of class E5"},
		{"a newline in a header", `[200, ['X-Split' => "a\r\nX-Evil: 1"], []]`, 0, "a control character in the value of"},
		{"a control character in a header", `[200, ['X-Bell' => "a\x07b"], []]`, 0, `control character in the value of "x-bell"`},
		{"a name that is no token", `[200, ['X Y' => 1], []]`, 0, "not a token"},
		{"a responder never called", `sub { 1 }`, 502, "did not call its responder"},
		{"a responder called with nonsense", `sub { $_[0]->('x') }`, 502, "gave the responder"},
		{"die in a delayed answer", `sub { die "late\n" }`, 500, "late"},
		{"an alarm", `alarm 1; sleep 9`, 502, "alarm clock"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := code(t, `sub { return [200, [], [$$]] if $_[0]{PATH_INFO} eq '/pid'; `+c.perl+` }`)
			pid := m.get("/pid").body
			r := m.do(call{method: "POST", path: "/bad"})
			var status *pagi.StatusError
			switch {
			case r.err == nil:
				t.Fatalf("no error, answered %d %q", r.status, r.body)
			case c.status != 0 && (!errors.As(r.err, &status) || status.Status != c.status):
				t.Errorf("error %v, want status %d", r.err, c.status)
			case !strings.Contains(r.err.Error(), c.message):
				t.Errorf("error %q does not say %q", r.err, c.message)
			}
			died := strings.Contains(r.err.Error(), "the worker died")
			if next := m.get("/pid"); next.status != 200 || (next.body == pid) == died {
				t.Errorf("the next request got %d %q, %v; the worker was %s and died: %v", next.status, next.body, next.err, pid, died)
			}
		})
	}
}

// After the answer has begun there is no status left to change: the error makes
// the server cut the connection.
func TestFailureAfterTheStart(t *testing.T) {
	for name, perl := range map[string]string{
		"die while streaming":    `sub { sub { my $w = $_[0]->([200, []]); $w->write('part'); die "torn\n" } }`,
		"die in getline":         `package T; sub getline { $_[0]{n}++ ? die "torn\n" : 'part' } package main; sub { [200, [], bless {}, 'T'] }`,
		"exit while streaming":   `sub { sub { my $w = $_[0]->([200, []]); $w->write('part'); exit } }`,
		"never closed":           `sub { sub { my $w = $_[0]->([200, []]); $w->write('part'); } }`,
		"wide character":         `sub { sub { my $w = $_[0]->([200, []]); $w->write('part'); $w->write("\x{263a}") } }`,
		"responder called twice": `sub { sub { my $w = $_[0]->([200, []]); $w->write('part'); $_[0]->([200, []]) } }`,
	} {
		t.Run(name, func(t *testing.T) {
			r := code(t, perl).get("/")
			var status *pagi.StatusError
			if r.err == nil || errors.As(r.err, &status) || r.status != 200 || r.body != "part" || r.ended {
				t.Errorf("%d %q, ended %v, error %v", r.status, r.body, r.ended, r.err)
			}
		})
	}
}

func TestStreamingIsPrompt(t *testing.T) {
	dir := t.TempDir()
	m := mount(t, PSGI{Code: `sub { sub { my $w = $_[0]->([200, []]); for my $n (1..3) { $w->write($n); select undef, undef, undef, 0.005 until -e "$ENV{GO}/$n" } $w->close } }`, Env: map[string]string{"GO": dir}})
	r := m.doContext(t.Context(), call{path: "/"}, func(piece string) {
		// The application goes on only once this piece has arrived.
		if piece != "" {
			if err := os.WriteFile(filepath.Join(dir, piece), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	if r.body != "123" || !r.ended {
		t.Errorf("%q, ended %v, %v", r.body, r.ended, r.err)
	}
}

func TestLargeBodies(t *testing.T) {
	m := code(t, `use Digest::SHA; sub {
		my $i = $_[0]{'psgi.input'}; my $d = Digest::SHA->new(256);
		$d->addfile($i); [200, ['X-Real' => -f $i ? 'file' : 'memory'], [$d->hexdigest]] }`)
	for _, size := range []int{64 << 10, 64<<10 + 1, 5_000_000} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		r := m.do(call{method: "POST", path: "/", body: body})
		want := fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
		where := "memory"
		if size > 64<<10 {
			where = "file"
		}
		if r.body != want || r.headers.Get("x-real") != where {
			t.Errorf("%d bytes: got %s in %s, want %s in %s", size, r.body, r.headers.Get("x-real"), want, where)
		}
	}
	left, err := filepath.Glob(filepath.Join(m.app.(*app).pool.Dir(), "pagi-body-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("spooled bodies are left: %v, %v", left, err)
	}
}

func TestLogs(t *testing.T) {
	m := code(t, `sub { my $e = shift; print { $e->{'psgi.errors'} } "by print\n"; $e->{'psgi.errors'}->print("by method\n"); { local ($,, $\) = ('+', '!'); $e->{'psgi.errors'}->print('a', 'b') } warn "by warn\n"; printf STDOUT "by %s\n", 'stdout'; [200, [], []] }`)
	m.get("/logged")
	for _, line := range []string{
		`level=WARN msg="by print" mount="" worker=1 pid=`,
		`msg="by method"`, `msg=a+b!`, `msg="by warn"`, `msg="by stdout"`, `request="GET /logged"`,
	} {
		m.log.WaitFor(t, line)
	}
}

func TestCleanupAndHarakiri(t *testing.T) {
	dir := t.TempDir()
	m := mount(t, PSGI{Env: map[string]string{"D": dir}, Code: `sub { my $e = shift;
		push @{ $e->{'psgix.cleanup.handlers'} }, sub { open my $f, '>', "$ENV{D}/cleaned"; die "in cleanup\n" } if $e->{PATH_INFO} eq '/clean';
		$e->{'psgix.harakiri.commit'} = 1 if $e->{PATH_INFO} eq '/harakiri';
		[200, [], [$$]] }`})
	first := m.get("/")
	if r := m.get("/clean"); r.body != first.body || r.err != nil {
		t.Fatalf("%+v", r)
	}
	m.log.WaitFor(t, "a cleanup handler died: in cleanup")
	m.log.WaitFor(t, `request="GET /clean"`)
	if _, err := os.Stat(filepath.Join(dir, "cleaned")); err != nil {
		t.Error(err)
	}
	if r := m.get("/harakiri"); r.body != first.body || r.err != nil {
		t.Errorf("the request that asked for harakiri: %+v", r)
	}
	m.log.WaitFor(t, "reason=harakiri")
	if r := m.get("/"); r.body == first.body || r.status != 200 {
		t.Errorf("after harakiri: %+v", r)
	}
}

// Handlers run also where an application has put a list, or one handler, of its own in the
// place of the list it was given.
func TestCleanupHandlersThatReplaceOthers(t *testing.T) {
	for name, perl := range map[string]string{
		"a list":                        `$e->{'psgix.cleanup.handlers'} = [sub { $e->{'psgi.errors'}->print("cleaned up\n") }]; [200, [], ['x']]`,
		"one handler":                   `$e->{'psgix.cleanup.handlers'} = sub { $e->{'psgi.errors'}->print("cleaned up\n") }; [200, [], ['x']]`,
		"one that adds another":         `push @{ $e->{'psgix.cleanup.handlers'} }, sub { push @{ $e->{'psgix.cleanup.handlers'} }, sub { $e->{'psgi.errors'}->print("cleaned up\n") } }; [200, [], ['x']]`,
		"a list for a streamed answer":  `sub { my $w = $_[0]->([200, []]); $e->{'psgix.cleanup.handlers'} = [sub { $e->{'psgi.errors'}->print("cleaned up\n") }]; $w->write('x'); $w->close }`,
		"what cannot be called is told": `$e->{'psgix.cleanup.handlers'} = 'cleaned up'; [200, [], ['x']]`,
		"a list that was deleted":       `delete $e->{'psgix.cleanup.handlers'}; $e->{'psgi.errors'}->print("cleaned up\n"); [200, [], ['x']]`,
	} {
		t.Run(name, func(t *testing.T) {
			m := code(t, `use strict; sub { my $e = shift; `+perl+` }`)
			if r := m.get("/clean"); r.err != nil || r.body != "x" {
				t.Errorf("%+v", r)
			}
			m.log.WaitFor(t, "cleaned up", `request="GET /clean"`)
			if r := m.get("/next"); r.err != nil || r.body != "x" {
				t.Errorf("the next request: %+v", r)
			}
		})
	}
}

// psgix.logger's levels are those of the log, and a text of several lines is one record.
func TestLogger(t *testing.T) {
	m := code(t, `sub { my $e = shift; $e->{'psgix.logger'}->({ level => $_, message => "by $_\n" }) for qw(debug info warn error fatal other);
		$e->{'psgix.logger'}->({ level => 'info', message => "  three\n  indented\nlines" }); print { $e->{'psgi.errors'} } "two\nlines\n"; [200, [], []] }`)
	if r := m.get("/logged"); r.err != nil {
		t.Fatal(r.err)
	}
	for level, name := range map[string]string{"debug": "DEBUG", "info": "INFO", "warn": "WARN", "error": "ERROR", "fatal": "ERROR", "other": "WARN"} {
		m.log.WaitFor(t, "level="+name, `msg="by `+level+`"`, `request="GET /logged"`)
	}
	m.log.WaitFor(t, "level=INFO", `msg="  three\n  indented\nlines"`)
	m.log.WaitFor(t, "level=WARN", `msg="two\nlines"`, `request="GET /logged"`)
}

// Lines of Plack's access log are no errors.
func TestAccessLogOfPlack(t *testing.T) {
	needModules(t, []string{"Plack"})
	m := code(t, `use Plack::Builder; builder { enable 'AccessLog'; sub { [200, [], ['x']] } }`)
	m.get("/seen")
	m.log.WaitFor(t, "level=WARN", "GET /seen HTTP/1.1")
}

func TestMaxRequests(t *testing.T) {
	m := mount(t, PSGI{Code: `sub { [200, [], [$$]] }`, Processes: worker.Processes{MaxRequests: 3}})
	first := m.get("/").body
	testkit.Eventually(t, "another worker to take over", func() bool { return m.get("/").body != first })
}

func TestTimeLimit(t *testing.T) {
	m := mount(t, PSGI{Code: `sub { sleep 600 if $_[0]{PATH_INFO} eq '/hang'; [200, [], [$$]] }`, Limits: pool.Limits{RequestTimeout: 300 * time.Millisecond}})
	r := m.get("/hang")
	var status *pagi.StatusError
	if !errors.As(r.err, &status) || status.Status != 504 {
		t.Errorf("error %v, want status 504", r.err)
	}
	m.log.WaitFor(t, "ran into its time limit")
	if r := m.get("/"); r.status != 200 {
		t.Errorf("after the time limit: %+v", r)
	}
}

func TestQueueFullAndQueueTimeout(t *testing.T) {
	dir := t.TempDir()
	m := mount(t, PSGI{Env: map[string]string{"D": dir}, Limits: pool.Limits{QueueSize: 1, QueueTimeout: 200 * time.Millisecond, MaxBatch: 1},
		Code: `sub { if ($_[0]{PATH_INFO} eq '/wait') { open my $f, '>', "$ENV{D}/begun"; select undef, undef, undef, .005 until -e "$ENV{D}/go" } [200, [], []] }`})
	begun := make(chan *result)
	go func() { begun <- m.get("/wait") }()
	testkit.Eventually(t, "the worker to be busy", func() bool { _, err := os.Stat(filepath.Join(dir, "begun")); return err == nil })
	queued := make(chan *result)
	go func() { queued <- m.get("/") }()
	p := m.app.(*app).pool
	testkit.Eventually(t, "a request to be queued", func() bool { return p.Status().Queued == 1 })
	check := func(name string, r *result, want error) {
		var status *pagi.StatusError
		if !errors.As(r.err, &status) || status.Status != 503 || status.Headers.Get("retry-after") == "" || !errors.Is(r.err, want) {
			t.Errorf("%s: %v, want 503 with Retry-After for %v", name, r.err, want)
		}
	}
	check("one more", m.get("/"), pool.ErrQueueFull)
	check("the queued one", <-queued, pool.ErrQueueTimeout)
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-begun; r.status != 200 {
		t.Errorf("the running one: %+v", r)
	}
}

// A client that leaves ends an endless stream, and the worker is free again.
func TestClientLeaves(t *testing.T) {
	m := code(t, `sub { $_[0]{PATH_INFO} eq '/' ? [200, [], [$$]] : sub { my $w = $_[0]->([200, []]); while (1) { $w->write('tick'); select undef, undef, undef, .001 } } }`)
	pid := m.get("/").body
	ctx, cancel := context.WithCancelCause(t.Context())
	r := m.doContext(ctx, call{path: "/endless"}, func(string) { cancel(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed}) })
	if r.err != nil {
		t.Errorf("error %v; a client's leaving is none", r.err)
	}
	if r := m.get("/"); r.body != pid {
		t.Errorf("the worker was not freed: %+v", r)
	}
}

func TestForkedChildCannotAnswer(t *testing.T) {
	m := code(t, `sub { my $pid = fork; waitpid $pid, 0 if $pid; [200, [], [$pid ? 'parent' : 'child']] }`)
	for range 3 {
		if r := m.get("/"); r.body != "parent" || r.err != nil {
			t.Fatalf("%+v", r)
		}
	}
}

func TestDevelopmentPage(t *testing.T) {
	m := mount(t, PSGI{Environment: "development", Code: "sub deep { die \"<b>bad</b> luck\" }\nsub { deep() }"})
	r := m.get("/")
	if r.err != nil || r.status != 500 || !strings.Contains(r.body, "&lt;b&gt;bad&lt;/b&gt; luck at -e line 1") || !strings.Contains(r.body, "deep called at -e line 2") {
		t.Errorf("%+v", r)
	}
}

// A handler of exceptions that the application has set is called in development, too.
func TestDevelopmentKeepsTheDieHandler(t *testing.T) {
	for name, handler := range map[string]string{"code": `sub { print STDERR "noted: @_" }`, "a name": `'main::note'; sub note { print STDERR "noted: @_" }`} {
		t.Run(name, func(t *testing.T) {
			m := mount(t, PSGI{Environment: "development", Code: "$SIG{__DIE__} = " + handler + "; sub { die qq(hard luck\n) }"})
			if r := m.get("/"); r.status != 500 || !strings.Contains(r.body, "hard luck") {
				t.Errorf("%+v", r)
			}
			m.log.WaitFor(t, `msg="noted: hard luck"`)
		})
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		o    PSGI
		want string
	}{
		"a syntax error":     {PSGI{App: write("syntax.psgi", "my $x = ;\nsub {}")}, `syntax.psgi line 1`},
		"a missing module":   {PSGI{App: write("module.psgi", "use No::Such::Module;\nsub {}")}, `Can't locate No/Such/Module.pm`},
		"no application":     {PSGI{App: write("number.psgi", "42")}, `must end with the application, a code reference; it returned '42'`},
		"a PAGI application": {PSGI{App: write("pagi.psgi", "package PAGI::App::Files; sub to_app { sub {} } bless {}")}, `PAGI::App::Files is a PAGI application in Perl; a PSGI application is wanted here`},
		"a false value":      {PSGI{App: write("empty.psgi", "")}, `it returned nothing`},
		"an exit":            {PSGI{App: write("exit.psgi", "exit 7")}, `exit status 7`},
		"a missing -M":       {PSGI{Code: "sub {}", Modules: []string{"No::Such::Module"}}, `No/Such/Module.pm`},
		"a start that hangs": {PSGI{Code: "sleep 99; sub {}", Limits: pool.Limits{Limits: worker.Limits{StartTimeout: 200 * time.Millisecond}}}, `not ready after 200ms`},
	} {
		t.Run(name, func(t *testing.T) {
			app, err := c.o.Build()
			if err != nil {
				t.Fatal(err)
			}
			_, err = lifespan.Start(t.Context(), app, &pagi.Scope{Type: pagi.TypeLifespan})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestBuildErrors(t *testing.T) {
	for want, o := range map[string]PSGI{
		"exactly one of app and code": {},
		"psgi: app:":                  {App: "/no/such/app.psgi"},
		"is a directory":              {App: t.TempDir()},
		"psgi: perl:":                 {Code: "sub {}", Perl: "/no/such/perl"},
		"/no/dir/perl":                {Code: "sub {}", Dir: "/no/dir", Perl: "./perl"},
		"psgi: workers:":              {Code: "sub {}", Processes: worker.Processes{Workers: -1}},
		"psgi: retry: must be":        {Code: "sub {}", Limits: pool.Limits{Retry: "often"}},
		"psgi: queue_timeout:":        {Code: "sub {}", Limits: pool.Limits{QueueTimeout: -1}},
	} {
		if _, err := o.Build(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestPerlIsMeantFromDir(t *testing.T) {
	perl, err := exec.LookPath("perl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(perl, filepath.Join(dir, "myperl")); err != nil {
		t.Fatal(err)
	}
	m := mount(t, PSGI{Code: `sub { [200, [], [$^X]] }`, Dir: dir, Perl: "./myperl"})
	if r := m.get("/"); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

func TestUnsupportedScope(t *testing.T) {
	m := code(t, `sub { [200, [], []] }`)
	err := m.app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeWebSocket}, nil, nil)
	if !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}
