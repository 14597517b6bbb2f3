package differential_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/testkit/upstream"
)

var program string // the path of pagi-bridge, built where there is a reference

func TestMain(m *testing.M) {
	if os.Getenv(upstream.Newest) == "" && os.Getenv(upstream.Reference) == "" {
		os.Exit(m.Run())
	}
	os.Exit(testkit.RunWith(m, map[string]*string{"cmd/pagi-bridge": &program}))
}

// suite is a file of upstream's own tests that asks a server.
type suite struct {
	// file begins with the revision and the name of the repository.
	file string
	// others are the tests that do not pass, by their names at the outermost level, with the reason.
	others map[string]string
}

const (
	internals = "asks for methods, fields or options of PAGI::Server"
	logs      = "wants a message on the standard error of its own process"
	unflushed = "pagi-bridge answers 500 to an exception behind the start: differences.json, nothing-sent-yet"
)

// Both releases have these files.
var (
	othersOfExtensions = map[string]string{
		"Extensions are absent when not enabled": "pagi-bridge always offers fullflush",
		"Unknown extension events are rejected":  "pagi-bridge always offers fullflush",
	}
	othersOfCompliance = map[string]string{
		"Default max_body_size is 10MB":                     internals,
		"Max header size configuration is passed correctly": internals,
		"Too many headers returns 431":                      internals,
		"Access logging writes request/response info":       internals,
		"rejects invalid loop_type values":                  internals,
		"configure() recompiles access log formatter":       internals,
	}
	othersOfCleanup = map[string]string{
		"WebSocket frame parser cleaned up on close (3.1)":         internals,
		"Exception after response started handled properly (3.17)": unflushed,
		"Multiple connections with exceptions all cleaned up":      internals,
	}
)

// suites are those of the files that construct a PAGI::Server and ask it over a socket. Left out are those about its
// workers, listeners, signals, limits, access log and TLS, and those that need Net::Async::WebSocket::Client or
// Net::HTTP2::nghttp2, which Debian does not have.
var suites = []suite{
	{file: "HEAD PAGI-Server/t/01-hello-http.t"},
	{file: "HEAD PAGI-Server/t/02-streaming.t"},
	{file: "HEAD PAGI-Server/t/03-request-body.t"},
	{file: "HEAD PAGI-Server/t/05-sse.t"},
	{file: "HEAD PAGI-Server/t/06-lifespan.t"},
	{file: "HEAD PAGI-Server/t/07-extensions.t", others: othersOfExtensions},
	{file: "HEAD PAGI-Server/t/10-http-compliance.t", others: othersOfCompliance},
	{file: "HEAD PAGI-Server/t/14-websocket-invalid-utf8.t"},
	{file: "HEAD PAGI-Server/t/15-crlf-injection.t"},
	{file: "HEAD PAGI-Server/t/20-callback-exception.t"},
	{file: "HEAD PAGI-Server/t/22-content-length-keepalive.t"},
	{file: "HEAD PAGI-Server/t/23-connection-cleanup.t", others: othersOfCleanup},
	{file: "HEAD PAGI-Server/t/30-error-propagation.t", others: map[string]string{
		"Lifespan startup failure crashes server": "the stand-in does not end the process of the test",
	}},
	{file: "HEAD PAGI-Server/t/42-file-response.t"},
	{file: "HEAD PAGI-Server/t/http-incomplete-response.t", others: map[string]string{
		"an app that returns without a response yields 500": logs,
	}},
	{file: "HEAD PAGI-Server/t/integration/app-file.t"},
	{file: "HEAD PAGI-Server/t/integration/app-static-files.t"},
	{file: "HEAD PAGI-Server/t/integration/connection-complete.t"},
	{file: "HEAD PAGI-Server/t/integration/psgi-bridge.t"},
	{file: "HEAD PAGI-Server/t/integration/request-is-disconnected.t"},
	{file: "HEAD PAGI-Server/t/integration/request-server.t"},
	{file: "HEAD PAGI-Server/t/integration/response-integration.t"},
	{file: "HEAD PAGI-Server/t/integration/security-headers.t"},
	{file: "HEAD PAGI-Server/t/integration/sse-close-end-to-end.t"},
	{file: "HEAD PAGI-Server/t/integration/sse-wire-format.t"},
	{file: "HEAD PAGI-Server/t/lifespan-decline-clean-return.t"},
	{file: "HEAD PAGI-Server/t/lifespan-worker-fields.t"},
	{file: "HEAD PAGI-Server/t/response-started-integration.t"},
	{file: "HEAD PAGI-Server/t/sse-close.t"},
	{file: "HEAD PAGI-Server/t/sse-decline.t"},
	{file: "HEAD PAGI-Server/t/utf8/01-raw-utf8.t"},
	{file: "HEAD PAGI-Server/t/websocket/30-denial-response.t"},
	{file: "HEAD PAGI-Tools/t/integration/sse-decline-end-to-end.t"},
	{file: "HEAD PAGI-Tools/t/request/multipart-stream-e2e.t"},
	{file: "0.001006 pagi/t/01-hello-http.t"},
	{file: "0.001006 pagi/t/02-streaming.t"},
	{file: "0.001006 pagi/t/03-request-body.t"},
	{file: "0.001006 pagi/t/05-sse.t"},
	{file: "0.001006 pagi/t/06-lifespan.t"},
	{file: "0.001006 pagi/t/07-extensions.t", others: othersOfExtensions},
	{file: "0.001006 pagi/t/09-psgi-bridge.t"},
	{file: "0.001006 pagi/t/10-http-compliance.t", others: othersOfCompliance},
	{file: "0.001006 pagi/t/14-websocket-invalid-utf8.t"},
	{file: "0.001006 pagi/t/15-crlf-injection.t"},
	{file: "0.001006 pagi/t/20-callback-exception.t"},
	{file: "0.001006 pagi/t/22-content-length-keepalive.t"},
	{file: "0.001006 pagi/t/23-connection-cleanup.t", others: othersOfCleanup},
	{file: "0.001006 pagi/t/24-security-headers.t"},
	{file: "0.001006 pagi/t/42-file-response.t"},
	{file: "0.001006 pagi/t/app-file.t"},
	{file: "0.001006 pagi/t/app/01-static-files.t"},
	{file: "0.001006 pagi/t/request/14-integration.t"},
	{file: "0.001006 pagi/t/response-integration.t"},
	{file: "0.001006 pagi/t/utf8/01-raw-utf8.t"},
}

var (
	outermost = regexp.MustCompile(`(?m)^(ok|not ok) \d+ - (.*?)(?: \{)?$`)
	leftOut   = regexp.MustCompile(`(?m)^1\.\.0 # SKIP (.*)`)
)

// Upstream's own tests that ask a server pass with pagi-bridge, which testdata/standin/PAGI/Server.pm puts in the place
// of PAGI::Server.
func TestSuitesOfUpstream(t *testing.T) {
	upstream.Releases(t)
	needs(t)
	perl := testkit.Tool(t, "perl", "perl")
	standin, lib := absolute(t, "testdata/standin"), absolute(t, "../../perl/lib")
	passed, left := 0, 0
	for _, s := range suites {
		t.Run(s.file, func(t *testing.T) {
			revision, path, _ := strings.Cut(s.file, " ")
			repository, file, _ := strings.Cut(path, "/")
			release := upstream.Find(t, revision)
			dir := release.Trees[repository]
			temp, err := os.MkdirTemp("", "suite") // t.TempDir is too long for the path of a socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(temp) }) // a file that is left does no harm
			cmd := testkit.Command(dir, perl, file)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			// Upstream's tests put their own directories first, so that the stand-in has to be loaded before them.
			cmd.Env = append(cmd.Env, "PAGI_BRIDGE="+program, "PERL5OPT=-I"+lib+" -I"+standin+" -MPAGI::Server",
				"PERL5LIB="+strings.Join(release.Lib(filepath.Join(dir, file)), ":"), "PAGI_BRIDGE_SPEC="+release.Spec, "INTEGRATION_TEST=1", "RELEASE_TESTING=1", "TMPDIR="+temp)
			log := new(testkit.Log)
			cmd.Stdout, cmd.Stderr, cmd.WaitDelay = log, log, time.Second
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// A gateway that the test has left behind ends, too, and ends its worker. An error says that none is left.
			end := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
			limit := time.AfterFunc(time.Minute, end)
			err = cmd.Wait()
			limit.Stop()
			end()
			text := log.String()
			if m := leftOut.FindStringSubmatch(text); m != nil {
				t.Skip(m[1])
			}
			all := outermost.FindAllStringSubmatch(text, -1)
			if len(all) == 0 {
				t.Fatalf("no tests, %v:\n%s", err, text)
			}
			for _, m := range all {
				why, isOther := s.others[m[2]]
				switch {
				case m[1] == "ok" && isOther:
					t.Errorf("%q passes; it should not, because: %s", m[2], why)
				case m[1] == "ok":
					passed++
				case isOther:
					left++
				default:
					t.Errorf("%q does not pass", m[2])
				}
			}
			if err != nil && len(s.others) == 0 {
				t.Error(err)
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
	t.Logf("%d tests pass, %d do not, for the reasons that are given", passed, left)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
