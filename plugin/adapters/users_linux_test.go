package adapters

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// tries is a PSGI application that tries what the header X-Try asks for, and answers "ok" or why it cannot.
const tries = `use Socket; sub {
	my ($what, $path) = split / /, $_[0]{HTTP_X_TRY}, 2;
	my $fails = sub { [200, [], ["no: $!"]] };
	if ($what eq 'whoami') { return [200, [], ["$$ " . getppid . " $> $)"]] }
	if ($what eq 'read') { open my $f, '<', $path or return $fails->(); defined(read $f, my $x, 1) or return $fails->() }
	elsif ($what eq 'list') { opendir my $d, $path or return $fails->() }
	elsif ($what eq 'write') { open my $f, '>', $path or return $fails->() }
	elsif ($what eq 'connect') { socket my $s, AF_UNIX, SOCK_STREAM, 0 or die; connect $s, pack_sockaddr_un($path) or return $fails->() }
	elsif ($what eq 'signal') { kill 0, $path or return $fails->() }
	elsif ($what eq 'grow') { our @all; push @all, 'x' x (4 << 20) for 1 .. $path }
	[200, [], ['ok']]
}`

// tenant is a mount with a user of its own.
type tenant struct {
	uid             int
	client          *pagitest.Client
	worker, adapter string // their numbers
	file            string // its own
}

// try has the application try something.
func (x *tenant) try(t *testing.T, what, path string) string {
	t.Helper()
	return try(t, x.client, what, path)
}

func try(t *testing.T, c *pagitest.Client, what, path string) string {
	t.Helper()
	res := c.Get("/", pagitest.Header("x-try", what+" "+path))
	if res.Status != 200 {
		t.Fatalf("%s %s: %d %s", what, path, res.Status, res.Text())
	}
	return res.Text()
}

func owner(t *testing.T, info os.FileInfo) int {
	t.Helper()
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

// open makes a directory of a test and those above it, up to TMPDIR, ones that every user can enter.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Two mounts with two users, numbers without entries in the system's list: neither reaches anything of the other one or
// of the gateway.
func TestMountsOfTwoUsersCannotReachEachOther(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run adapters as other users")
	}
	h := newHouse(t)
	dir := open(t)
	key := filepath.Join(dir, "tls.key")
	if err := os.WriteFile(key, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []*tenant
	for _, uid := range []int{61001, 61002} {
		number := fmt.Sprint(uid)
		x := &tenant{uid: uid, file: filepath.Join(dir, number)}
		x.client = pagitest.Start(t, h.app(t, confine.Isolation{User: number, Group: number}, psgi.PSGI{Code: tries, Dir: "/", Name: "/" + number, Processes: worker.Processes{Workers: 1}}))
		words := strings.Fields(x.try(t, "whoami", ""))
		if len(words) != 4 || words[2] != number || words[3] != number {
			t.Fatalf("it runs as %q", words)
		}
		x.worker, x.adapter = words[0], words[1]
		if err := os.WriteFile(x.file, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(x.file, uid, uid); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	sockets := map[int][]string{}
	for _, pattern := range []string{"*", "*/*"} {
		files, err := filepath.Glob(filepath.Join(os.TempDir(), "pagi-private-"+pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if info, err := os.Lstat(file); err == nil && info.Mode()&os.ModeSocket != 0 {
				sockets[owner(t, info)] = append(sockets[owner(t, info)], file)
			}
		}
	}
	for i, x := range all {
		other := all[1-i]
		if got := x.try(t, "read", x.file); got != "ok" {
			t.Errorf("its own file: %s", got)
		}
		if got := x.try(t, "read", "/proc/self/environ"); got != "ok" {
			t.Errorf("its own environment: %s", got)
		}
		gateway := fmt.Sprint(os.Getpid())
		attempts := [][2]string{{"read", other.file}, {"write", other.file}, {"read", key}, {"write", key}}
		for _, pid := range []string{other.worker, other.adapter, gateway} {
			attempts = append(attempts, [2]string{"read", "/proc/" + pid + "/mem"}, [2]string{"read", "/proc/" + pid + "/environ"},
				[2]string{"list", "/proc/" + pid + "/fd"}, [2]string{"signal", pid})
		}
		if len(sockets[other.uid]) == 0 {
			t.Fatalf("no sockets of the user %d: %v", other.uid, sockets)
		}
		for _, path := range append(sockets[other.uid], sockets[0]...) {
			attempts = append(attempts, [2]string{"connect", path})
		}
		for _, try := range attempts {
			if got := x.try(t, try[0], try[1]); !strings.HasPrefix(got, "no: ") {
				t.Errorf("user %d can %s %s: %s", x.uid, try[0], try[1], got)
			}
		}
	}
}

// A mount whose user cannot use its directory or its file says who cannot use what.
func TestAMountOfAnotherUserSaysWhatItCannotUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run adapters as other users")
	}
	dir := open(t)
	closed := filepath.Join(dir, "closed")
	if err := os.MkdirAll(filepath.Join(closed, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	app, perl := filepath.Join(dir, "app.psgi"), filepath.Join(dir, "perl")
	for _, file := range []string{app, perl} {
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		options psgi.PSGI
		words   []string
	}{
		"directory": {psgi.PSGI{Code: tries, Dir: filepath.Join(closed, "deep")}, []string{"user 61001 cannot enter the directory " + closed + ": permission denied"}},
		"program":   {psgi.PSGI{Code: tries, Dir: dir, Perl: perl}, []string{perl, "permission denied"}},
		"file":      {psgi.PSGI{App: app, Dir: dir}, []string{app, "cannot be read by the user 61001"}},
	} {
		h := newHouse(t)
		err := pagitest.New(h.app(t, confine.Isolation{User: "61001", Group: "61001"}, tt.options)).Startup(t.Context())
		for _, words := range tt.words {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v, want %q", name, err, words)
			}
		}
	}
}
