package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const events = `{"Action":"output","Package":"x/pagi-bridge/a","Test":"TestGood","Output":"=== RUN\n"}
{"Action":"pass","Package":"x/pagi-bridge/a","Test":"TestGood"}
{"Action":"output","Package":"x/pagi-bridge/a","Test":"TestOut","Output":"    a_test.go:12: gitweb is not installed: apt-get\n"}
{"Action":"skip","Package":"x/pagi-bridge/a","Test":"TestOut"}
{"Action":"skip","Package":"x/pagi-bridge/a","Test":"TestMute"}
{"Action":"pass","Package":"x/pagi-bridge/a","Elapsed":1.5}
{"Action":"output","Package":"x/pagi-bridge/b","Test":"TestBad","Output":"    b_test.go:3: it is broken\n"}
{"Action":"fail","Package":"x/pagi-bridge/b","Test":"TestBad"}
{"Action":"output","Package":"x/pagi-bridge/b","Test":"TestStuck","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"x/pagi-bridge/b","Elapsed":0.25}
{"Action":"skip","Package":"x/pagi-bridge/no-tests"}
{"ImportPath":"x/c","Action":"build-output","Output":"c.go:1: no\n"}
not json
`
	var out strings.Builder
	r := newReport(&out)
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "skipped")
	if err := r.finish(file); err != nil {
		t.Fatal(err)
	}
	want := "ok    pagi-bridge/a (1.5s)\n    b_test.go:3: it is broken\npanic: test timed out\nFAIL  pagi-bridge/b (0.2s)\nc.go:1: no\nnot json\n\n1 passed, 1 failed, 2 skipped\n"
	if out.String() != want {
		t.Errorf("got %q\nwant %q", out.String(), want)
	}
	skipped, err := os.ReadFile(file)
	if want := "pagi-bridge/a TestMute: no reason given\npagi-bridge/a TestOut: gitweb is not installed: apt-get\n"; err != nil || string(skipped) != want {
		t.Errorf("skipped: %q %v", skipped, err)
	}
	out.Reset()
	if err := r.finish(""); err != nil || !strings.HasPrefix(out.String(), "\n1 passed, 1 failed, 2 skipped\n  pagi-bridge/a TestMute") {
		t.Errorf("without a file: %q %v", out.String(), err)
	}
}
