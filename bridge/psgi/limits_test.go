package psgi

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// After messages and heads that are far too long the client gets 500 or 502, the worker goes on,
// and the log gets a short text.
func TestWhatIsTooLong(t *testing.T) {
	m := mount(t, PSGI{Processes: worker.Processes{Workers: 2}, Code: `
		my %do = (
			'/die'     => sub { die 'x' x 5_000_000 },
			'/head'    => sub { [200, ['X-Large' => 'x' x 300_000], ['']] },
			'/largest' => sub { [200, ['X-Large' => 'x' x 20_000_000], ['']] },
			'/many'    => sub { [200, [map { ("X-$_" => 'x' x 100) } 1 .. 10_000], ['']] },
			'/stream'  => sub { sub { $_[0]->([200, ['X-Large' => 'x' x 20_000_000]])->close } },
			'/fits'    => sub { [200, ['X-Large' => 'x' x 200_000], ['']] },
			'/inform'  => sub { $_[0]{'psgix.informational'}->(103, ['Link' => 'x' x 20_000_000]); [200, [], ['']] },
		);
		sub { my $do = $do{ $_[0]{PATH_INFO} }; $do ? $do->(@_) : [200, [], [$$]] }`})
	workers := m.pids()
	for path, want := range map[string]int{
		"/die": 500, "/head": 502, "/largest": 502, "/many": 502, "/stream": 502, "/inform": 500, "/fits": 200,
	} {
		r := m.get(path)
		if r.statusCode() != want {
			t.Errorf("%s: status %d, want %d: %.200v", path, r.statusCode(), want, r.err)
		}
		if r.err != nil && len(r.err.Error()) > 10_000 {
			t.Errorf("%s: an error of %d bytes", path, len(r.err.Error()))
		}
	}
	if now := m.pids(); now != workers {
		t.Errorf("the workers were %s and are %s", workers, now)
	}
	if n := len(m.log.String()); n > 100_000 {
		t.Errorf("the log has %d bytes", n)
	}
}

// pids returns the process numbers of the workers.
func (m *mounted) pids() string {
	var pids []int
	for _, w := range m.app.(*app).Status().Workers {
		pids = append(pids, w.PID)
	}
	return fmt.Sprint(pids)
}

// Loading the application fails with a long message.
func TestLongMessageAtStart(t *testing.T) {
	for _, preload := range []bool{false, true} {
		log := &testkit.Log{}
		built, err := PSGI{Processes: worker.Processes{Workers: 1, Preload: preload}, Code: `die 'x' x 20_000_000`, Logger: log.Logger()}.Build()
		if err != nil {
			t.Fatal(err)
		}
		err = built.(*app).startup(t.Context())
		if err == nil || len(err.Error()) > 10_000 || !strings.Contains(err.Error(), "bytes more") {
			t.Errorf("preload %v: %.200v", preload, err)
		}
		if n := len(log.String()); n > 10_000 {
			t.Errorf("preload %v: the log has %d bytes", preload, n)
		}
	}
}

// Without a free descriptor, a request that needs one fails for that reason and the server answers
// 503. An answer that would be spooled still arrives.
func TestNoDescriptorIsLeft(t *testing.T) {
	m := mount(t, PSGI{Processes: worker.Processes{Workers: 1}, Limits: pool.Limits{AnswerMemory: 1}, Code: `sub { [200, [], ['x' x 1_000_000]] }`})
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 0, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	upload := m.do(call{method: "POST", path: "/", body: strings.Repeat("x", 200_000)})
	download := m.get("/")
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(upload.err, syscall.EMFILE) {
		t.Errorf("a large body: %v", upload.err)
	}
	if download.err != nil || len(download.body) != 1_000_000 {
		t.Errorf("a large answer: %d bytes, %v", len(download.body), download.err)
	}
	if r := m.do(call{method: "POST", path: "/", body: strings.Repeat("x", 200_000)}); r.status != 200 {
		t.Errorf("afterwards: %+v", r)
	}
}
