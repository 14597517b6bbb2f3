package site_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
)

func TestAFormerNameIsAcceptedWithAWarning(t *testing.T) {
	s, problem := loadTree(t, map[string]string{
		"site.yaml": "include: [lib]\nmounts:\n  - psgi: a.psgi\n    include: more\n  - path: /c\n    cgi: scripts\n    timeout: 5\n    max_time: 6\n    directories:\n      - {path: /d, timeout: 7}\n",
		"scripts/d": "",
	}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	dir := strings.TrimSuffix(s.File, "site.yaml")
	p, c := s.Mounts[0].Options.(*psgi.PSGI), s.Mounts[1].Options.(*cgi.CGI)
	got := []any{s.Settings.Lib, p.Lib, c.RequestTimeout, c.MaxRequestTime, c.Directories[0].RequestTimeout}
	want := []any{[]string{dir + "lib"}, []string{dir + "more"}, 5 * time.Second, 6 * time.Second, 7 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantWarnings := `site.yaml:1:1: "include" is now called "lib"; to include site files, give names that end in .yaml
site.yaml:4:5: "include" is now called "lib"
site.yaml:7:5: "timeout" is now called "request_timeout"
site.yaml:8:5: "max_time" is now called "max_request_time"
site.yaml:10:20: "timeout" is now called "request_timeout"`
	if diff := cmp.Diff(wantWarnings, strings.ReplaceAll(s.Warnings.Error(), dir, "")); diff != "" {
		t.Error(diff)
	}
}

func TestAProblemNamesAKeyAsItIsWritten(t *testing.T) {
	for text, want := range map[string]string{
		"include:\nmounts: [{file: .}]\n":                                    "site.yaml:1:1: include: has no value",
		"include: {a: b}\nmounts: [{file: .}]\n":                             "site.yaml:1:10: include: must be a list, is a mapping",
		"mounts: [{cgi: scripts, timeout: x}]\n":                             "site.yaml:1:34: timeout: must be a duration, as 30s or a number of seconds, is \"x\"",
		"mounts: [{cgi: scripts, directories: [{path: /d, max_time: x}]}]\n": "site.yaml:1:60: max_time: must be a duration, as 30s or a number of seconds, is \"x\"",
	} {
		_, got := loadTree(t, map[string]string{"site.yaml": text}, nil)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s%s", text, diff)
		}
	}
}

func TestAFormerNameBesideTheNewOneIsAProblem(t *testing.T) {
	_, got := loadTree(t, map[string]string{"site.yaml": "mounts:\n  - cgi: scripts\n    request_timeout: 5\n    timeout: 6\n"}, nil)
	if want := "site.yaml:4:5: request_timeout: is given already at site.yaml:3:22"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
