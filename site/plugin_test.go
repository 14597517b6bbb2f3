package site_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/plugin/host"
	"github.com/pagi-go/pagi-bridge/site"
)

// A plugin that refuses an option of its own gets the place of that option, or of what the option would stand in.
func TestOptionsOfPluginsHavePlaces(t *testing.T) {
	file := filepath.Join(testkit.Tree(t, map[string]string{"site.yaml": `mounts:
  - path: /p
    plugin:
      command: [sh, -c, "exit"]
      config:
        greeting: Moin
        parts:
          - {port: 80}
          - {port: x}
`}), "site.yaml")
	s, err := site.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(); err != nil {
		t.Fatal(err)
	}
	p := s.Mounts[0].Options.(*host.Plugin)
	for option, want := range map[string]string{
		"config.greeting":      ":6:19: ",
		"config.parts[1].port": ":9:20: ",
		"config.parts[1].prot": ":9:13: ",
		"config.missing":       ":6:9: ",
		"config":               ":6:9: ",
	} {
		if got := p.Where(option); got != file+want {
			t.Errorf("%s: %s, want %s", option, strings.TrimPrefix(got, file), want)
		}
	}
	if p.Name != "/p" || p.Dir != filepath.Dir(file) || s.Mounts[0].Source != "sh -c exit" {
		t.Errorf("%q %q %q", p.Name, p.Dir, s.Mounts[0].Source)
	}
}
