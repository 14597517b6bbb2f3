package psgi

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// reload reloads the application as a site does.
func (m *mounted) reload() error {
	return m.app.(interface{ Reload(context.Context) error }).Reload(m.t.Context())
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.psgi")
	writeFile(t, file, "sub { [200, [], ['one']] }")
	m := mount(t, PSGI{App: file, Processes: worker.Processes{Workers: 2}})
	if r := m.get("/"); r.body != "one" {
		t.Fatalf("%+v", r)
	}
	writeFile(t, file, "sub { [200, [], ['two']] }")
	if err := m.reload(); err != nil {
		t.Fatal(err)
	}
	if r := m.get("/"); r.body != "two" {
		t.Errorf("%+v", r)
	}
	for _, broken := range []struct{ code, words string }{
		{"sub { syntax error here", "syntax error at " + file + " line 1"},
		{"die qq(no database\\n)", "no database"},
		{"die { object => 1 }", "HASH"},
		{"warn qq(on my way\\n); exit 3", "exit status 3"},
		{"'text'", "it returned 'text'"},
	} {
		writeFile(t, file, broken.code)
		if err := m.reload(); err == nil || !strings.Contains(err.Error(), broken.words) {
			t.Errorf("%s: %v, want %q", broken.code, err, broken.words)
		}
		if r := m.get("/"); r.body != "two" {
			t.Errorf("%s: %+v", broken.code, r)
		}
	}
}

func TestReloadBeforeTheStart(t *testing.T) {
	app, err := PSGI{Code: "sub {}"}.Build()
	if err != nil {
		t.Fatal(err)
	}
	m := &mounted{t: t, app: app}
	if err := m.reload(); err == nil || !strings.Contains(err.Error(), "not started") {
		t.Errorf("%v", err)
	}
}

// With preload a new zygote loads the new version.
func TestReloadWithPreload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.psgi")
	writeFile(t, file, "my $loader = $$; sub { [200, [], ['one ', $$ == $loader ? 'loaded here' : 'forked']] }")
	m := mount(t, PSGI{App: file, Processes: worker.Processes{Workers: 2, Preload: true}})
	writeFile(t, file, "sub { syntax error here")
	if err := m.reload(); err == nil || !strings.Contains(err.Error(), "syntax error at "+file) {
		t.Errorf("of a broken version: %v", err)
	}
	if r := m.get("/"); r.body != "one forked" {
		t.Errorf("%+v", r)
	}
	writeFile(t, file, "sub { [200, [], ['two']] }")
	if err := m.reload(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if r := m.get("/"); r.body != "two" {
			t.Errorf("%+v", r)
		}
	}
}
