//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestAScriptThatIsReplacedMeanwhile changes a file in every way a deployment does.
// Each answer is of one state it was in.
func TestAScriptThatIsReplacedMeanwhile(t *testing.T) {
	root := testkit.Tree(t, map[string]string{"s.cgi": say("old"), "inside": say("linked")})
	file, other := filepath.Join(root, "s.cgi"), filepath.Join(root, "other")
	stop, changes := make(chan struct{}), []func() error{
		func() error { return os.WriteFile(other, []byte(say("new")), 0o755) },
		func() error { return os.Rename(other, file) },
		func() error { return os.Chmod(file, 0o644) },
		func() error { return os.Chmod(file, 0o755) },
		func() error { return os.Remove(file) },
		func() error { return os.Symlink("inside", file) },
		func() error { return os.Remove(file) },
		func() error { return os.WriteFile(file, []byte(say("old")), 0o755) }, // in place
	}
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			err := changes[i%len(changes)]()
			for errors.Is(err, syscall.ETXTBSY) { // the new file is being started already
				err = changes[i%len(changes)]()
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	application := build(t, CGI{Root: root})
	const enough = 3 // a busy disk lets few through
	got := map[string]int{}
	answered := 0
	for deadline := time.Now().Add(testkit.Patience); time.Now().Before(deadline) && (answered < enough || got["404 Not Found"] == 0); {
		res := do(t, application, ask{target: "/s.cgi"})
		what := fmt.Sprint(res.status, " ", strings.TrimSpace(res.body))
		if res.err != nil {
			what = fmt.Sprint("error ", res.statusError())
		}
		got[what]++
		if res.status == 200 {
			answered++
		}
		switch what {
		case "200 old /s.cgi|", "200 new /s.cgi|", "200 linked /s.cgi|", "403 Forbidden", "404 Not Found":
		case "error 503": // it was being written for a long time
		case "error 502": // an empty file was found, or the shell found none any more
			if !strings.Contains(res.err.Error(), "cannot be started") && !strings.Contains(res.err.Error(), "it wrote no output") {
				t.Error(res.err)
			}
		default:
			t.Errorf("%s: %v", what, res.err)
		}
	}
	close(stop)
	changing.Wait()
	if got["404 Not Found"] == 0 || answered < enough {
		t.Errorf("the race was not run: %v", got)
	}
}

// A program that is being written is tried again: the write ends soon.
func TestAScriptThatIsBeingWritten(t *testing.T) {
	root := testkit.Tree(t, map[string]string{"s.cgi": "#!/bin/true\n"})
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Skip(err)
	}
	f, err := os.OpenFile(filepath.Join(root, "s.cgi"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(program); err != nil {
		t.Fatal(err)
	}
	application := build(t, CGI{Root: root})
	if res := do(t, application, ask{target: "/s.cgi"}); res.statusError() != 503 && !strings.Contains(res.err.Error(), "no output") {
		t.Errorf("while it is open: %v", res.err) // some kernels start it all the same
	}
	time.AfterFunc(2*busyWait, func() { f.Close() }) // what was written is not looked at
	if res := do(t, application, ask{target: "/s.cgi"}); res.statusError() != 502 || !strings.Contains(res.err.Error(), "no output") {
		t.Errorf("when it is closed: %v", res.err)
	}
}

// A daemon that was started as it should be neither holds the response up nor is
// ended with the script.
func TestAProperDaemonLivesOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go")
	res := do(t, build(t, CGI{KillAfter: testkit.Patience, RequestTimeout: testkit.Patience}), ask{target: "/leaves.cgi?" + file})
	if res.err != nil || res.body != "started\n" || !res.complete {
		t.Fatalf("%+v", res)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fileText(t, file+".seen")
}

func TestHeaderBombs(t *testing.T) {
	root := testkit.Tree(t, map[string]string{
		"line.cgi":  perl + "print 'X-A: '; print 'x' x 65536 while 1;\n",
		"lines.cgi": perl + "print qq(X-$_: y\\n) for 1 .. 1e9;\n",
		"same.cgi":  perl + "print qq(Content-Type: a/b\\n) while 1;\n",
		"names.cgi": perl + "print 'x' while 1;\n",
		"nul.cgi":   perl + "print qq(\\0) while 1;\n",
		"nph-1.cgi": perl + "print qq(HTTP/1.1 200 OK\\nX: ); print 'x' while 1;\n",
		"nph-2.cgi": perl + "print qq(HTTP/1.1 103 Early\\n\\n) while 1;\n",
		"nph-3.cgi": perl + "print qq(HTTP/1.1 200 OK\\nTransfer-Encoding: chunked\\n\\n); print 'f' while 1;\n",
	})
	application := build(t, CGI{Root: root, KillAfter: time.Second})
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		res := do(t, application, ask{target: "/" + entry.Name()})
		if res.err == nil || res.complete || entry.Name() != "nph-3.cgi" && res.statusError() != 502 {
			t.Errorf("%s: %d, %v", entry.Name(), res.status, res.err)
		}
	}
}
