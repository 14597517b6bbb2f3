package site_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func TestShadowInASiteFile(t *testing.T) {
	s, problem := loadTree(t, map[string]string{
		"kept/x": "",
		"site.yaml": `
mounts:
  - path: /books
    shadow:
      - not_found: one
        status: 200
      - not_found: two
        status: 200
    sample: 100
    dir: kept
`}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	log := &testkit.Log{}
	s.Logger = log.Logger()
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.Start(t, app)
	c.Get("/books/x").Expect(t, 200, "one")
	log.WaitFor(t, "answers differ", "what=body", "target=/books/x", "kept=")
	shadow := s.Mounts[0].Options.(*apps.Shadow)
	if shadow.Timeout != 0 || shadow.Sample != 100 || s.Mounts[0].Parts[1].Name() != "/books#2" {
		t.Errorf("%+v %s", shadow.ShadowOptions, s.Mounts[0].Parts[1].Name())
	}
	for deadline := time.Now().Add(testkit.Patience); shadow.Stats().Different != 1; {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", shadow.Stats())
		}
	}
}

func TestWrongShadows(t *testing.T) {
	for text, want := range map[string]string{
		"shadow: x":                                             `shadow: must be a list like [{file: public}, {psgi: app.psgi}], is "x"`,
		"shadow: [{not_found: x}]":                              "shadow: needs two applications: the one that answers, and the one that is compared with it",
		"shadow: [{not_found: x}, {cascade: []}]":               "a part of a shadow cannot have a cascade",
		"shadow: [{not_found: x}, {not_found: y}], sample: 101": "sample: must be more than 0 and at most 100 percent, is 101",
	} {
		s, got := loadTree(t, map[string]string{"site.yaml": "mounts: [{" + text + "}]\n"}, nil)
		if s != nil {
			if _, err := s.Build(); err != nil {
				got = err.Error()
			}
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
