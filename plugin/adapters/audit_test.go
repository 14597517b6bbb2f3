package adapters

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

func newAudit(dir string, log *testkit.Log) *audit {
	return &audit{dir: dir, uid: os.Geteuid(), log: log.Logger(), workers: map[string]bool{}}
}

// privateDir makes a directory as package private does.
func privateDir(t *testing.T, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "pagi-private-test-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAnAuditBoundsWhatAnAdapterTells(t *testing.T) {
	parent, log := t.TempDir(), &testkit.Log{}
	dir := privateDir(t, parent)
	a := newAudit(parent, log)
	used, files := 0, 0
	for i := range 3 * control.MaxEndpoints {
		c := lease.Changes{
			Endpoints: []lease.Endpoint{{Worker: i + 1, PID: 1, UID: a.uid, Kind: lease.Scopes, Token: fmt.Sprintf("%020d", i), Address: filepath.Join(dir, "s")}},
			Facts:     &lease.Facts{UID: a.uid, RetryAfter: time.Duration(i) * time.Hour},
			Loaded:    make([]string, 100), Lost: -i,
		}
		a.pass(&c)
		used += len(c.Endpoints)
		files += len(c.Loaded)
		if c.Facts.RetryAfter > longestRetry || c.Lost < 0 {
			t.Fatalf("%+v", c)
		}
	}
	if used != control.MaxEndpoints || files != mostFiles {
		t.Errorf("%d workers, %d files", used, files)
	}
	if n := strings.Count(log.String(), "\n"); n != mostComplaints {
		t.Errorf("%d complaints", n)
	}
	ended := lease.Changes{Endpoints: []lease.Endpoint{{Worker: 1, Token: fmt.Sprintf("%020d", 0), State: lease.Ended}}}
	a.pass(&ended)
	if len(ended.Endpoints) != 1 || len(a.workers) != control.MaxEndpoints-1 {
		t.Error("a worker that has ended counts")
	}
}

// A link to a socket of another user, and a file in place of a socket, are not dialled.
func TestAnAuditLooksAtTheSocket(t *testing.T) {
	parent := t.TempDir()
	dir := privateDir(t, parent)
	here, link, file := filepath.Join(dir, "here"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	l, err := net.Listen("unix", here)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(here, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := privateDir(t, parent)
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, address string
		uid           int
		words         string
	}{
		{"the socket itself", here, os.Geteuid(), ""}, {"a missing one", filepath.Join(dir, "none"), os.Geteuid(), ""},
		{"a link", link, os.Geteuid(), "a symbolic link"}, {"a file", file, os.Geteuid(), "a regular file"},
		{"another user's", here, os.Geteuid() + 1, "is not the adapter's alone"}, {"one outside", "/run/s", os.Geteuid(), "is not in a private directory"},
		{"one too deep", filepath.Join(dir, "x", "s"), os.Geteuid(), "is not in a private directory"},
		{"one in a directory of others", filepath.Join(open, "s"), os.Geteuid(), "is not the adapter's alone"},
		{"one with dots", dir + "/../s", os.Geteuid(), "is not in a private directory"}, {"an abstract one", "@x", os.Geteuid(), "is not in a private directory"},
	} {
		err := checkOwn(parent, tt.address, tt.uid)
		if tt.words == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// FuzzChanges reads what an adapter may send. What passes the audit keeps to its bounds.
func FuzzChanges(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"Endpoints":[{"Worker":1,"PID":7,"UID":0,"Kind":"requests","Address":"/etc/passwd","Token":"0123456789abcdef","State":9}]}`,
		`{"Endpoints":[{"Worker":-1,"State":4,"Token":"0123456789abcdef"}],"Listed":true,"Facts":{"Circuit":250,"RetryAfter":-1,"UID":-7}}`,
		`{"Records":[{"Time":"0001-01-01T00:00:00Z","Level":99,"Message":"x","Attrs":[{"Key":"","Value":""}]}],"Lost":-3,"Loaded":["",""],"Position":18446744073709551615}`,
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		var c lease.Changes
		if json.Unmarshal(text, &c) != nil {
			return
		}
		log := &testkit.Log{}
		a := newAudit(dir, log)
		a.pass(&c)
		for _, e := range c.Endpoints {
			_ = e.State.String() // must not panic
			if e.State != lease.Ended && (e.UID != a.uid || !private.Holds(dir, e.Address)) {
				t.Errorf("it passes: %+v", e)
			}
		}
		for _, r := range c.Records {
			if err := r.Handle(t.Context(), log.Logger().Handler()); err != nil {
				t.Error(err)
			}
		}
		if c.Facts != nil && (c.Facts.UID != a.uid || c.Facts.RetryAfter < 0) {
			t.Errorf("it passes: %+v", c.Facts)
		}
		if c.Facts != nil {
			_ = c.Facts.Circuit.String() // must not panic
		}
	})
}
