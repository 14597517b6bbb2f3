package psgi

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// other is the number of a user that is not root. It needs no name.
const other = 65534

// asOther has workers run as another user, as an adapter of that user would.
func asOther(opt worker.Options, host worker.Host) worker.Crew {
	start := opt.Start
	opt.Start = func(s worker.Setup) (*exec.Cmd, []byte, error) {
		cmd, input, err := start(s)
		if err != nil {
			return nil, nil, err
		}
		own := func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				err = os.Lchown(path, other, other)
			}
			if errors.Is(err, fs.ErrNotExist) { // it has gone meanwhile
				err = nil
			}
			return err
		}
		if err := filepath.WalkDir(s.Dir, own); err != nil {
			return nil, nil, err
		}
		wrapped := exec.Command(cmd.Path, append([]string{"-MPOSIX", "-e", "setgid(65534); setuid(65534); exec @ARGV or die $!", "--", cmd.Path}, cmd.Args[1:]...)...)
		wrapped.Dir, wrapped.Env = "/", cmd.Env
		return wrapped, input, nil
	}
	k := lease.NewKeeper(lease.KeeperOptions{Options: opt})
	return &leased.Crew{Keeper: k, Crew: lease.New(lease.Options{Options: opt, Control: &ofOther{leased.Line(k)}}, host)}
}

// ofOther is a line to a keeper of the other user.
type ofOther struct{ *leased.Wire }

func (o *ofOther) Attach(ctx context.Context, gateway string) (lease.Stream, error) {
	s, err := o.Wire.Attach(ctx, gateway)
	return otherStream{s}, err
}

type otherStream struct{ lease.Stream }

func (o otherStream) Next() (lease.Changes, error) {
	c, err := o.Stream.Next()
	for i := range c.Endpoints {
		c.Endpoints[i].UID = other
	}
	if c.Facts != nil {
		c.Facts.UID = other
	}
	return c, err
}

// The gateway of root and a worker of another user give each other files that the other one could not open by its path.
func TestAWorkerOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can have workers of another user")
	}
	dir := t.TempDir()
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.Repeat("0123456789abcdef", 10000)
	theirs, ours := filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
	for _, path := range []string{theirs, ours} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(theirs, other, other); err != nil {
		t.Fatal(err)
	}
	m := mount(t, PSGI{Crew: asOther, Code: `sub {
		my $env = shift;
		my $path = $env->{PATH_INFO};
		return [200, [], ["$>"]] if $path eq '/user';
		if ($path eq '/body') {
			my $body = do { local $/; readline $env->{'psgi.input'} };
			return [200, [], [length $body, ' ', unpack '%32C*', $body]];
		}
		open my $file, '<', $env->{QUERY_STRING} or return [403, [], ["$!"]];
		read $file, my $skipped, 0;
		return [200, [], $file];
	}`})
	if r := m.get("/user"); r.body != strconv.Itoa(other) {
		t.Fatalf("the worker runs as %q: %v", r.body, r.err)
	}
	if r := m.do(call{path: "/file", query: theirs}); r.body != text || !r.file {
		t.Errorf("its file: %d bytes, as a file: %t, %v", len(r.body), r.file, r.err)
	}
	if r := m.do(call{path: "/file", query: ours}); r.status != 403 {
		t.Errorf("a file that it must not read: %d, %d bytes", r.status, len(r.body))
	}
	sum := 0
	for _, b := range []byte(text) {
		sum += int(b)
	}
	if r := m.do(call{path: "/body", method: "POST", body: text}); r.body != strconv.Itoa(len(text))+" "+strconv.Itoa(sum) {
		t.Errorf("a request body in a file: %q, %v", r.body, r.err)
	}
}
