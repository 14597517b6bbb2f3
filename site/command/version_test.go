package command

import "testing"

func TestVersions(t *testing.T) {
	for text, want := range map[string]string{
		"v0.1.0":                      "0.1.0",
		"v0.1.0-12-gabcdef0":          "0.1.0+12.gabcdef0",
		"v0.1.0-12-gabcdef0-dirty":    "0.1.0+12.gabcdef0.dirty",
		"v0.1.0-dirty":                "0.1.0+dirty",
		"v1.20.3-rc.1":                "1.20.3-rc.1",
		"v1.20.3-rc.1-3-gabcdef0":     "1.20.3-rc.1+3.gabcdef0",
		"abcdef0":                     "0.0.0+gabcdef0",
		"abcdef0123-dirty":            "0.0.0+gabcdef0123.dirty",
		"":                            "",
		"$(shell git describe)":       "",
		"fatal: not a git repository": "",
	} {
		if got := described(text); got != want {
			t.Errorf("git describe %q: %q, want %q", text, got, want)
		}
	}
	for _, c := range []struct {
		module   string
		settings map[string]string
		want     string
	}{
		{"v0.1.0", nil, "0.1.0"},
		{"v0.1.0+dirty", nil, "0.1.0+dirty"},
		{"v0.1.1-0.20261130120000-abcdef012345", nil, "0.1.0+20261130.gabcdef0"},
		{"v0.1.1-0.20261130120000-abcdef012345+dirty", nil, "0.1.0+20261130.gabcdef0.dirty"},
		{"v0.0.0-20261130120000-abcdef012345", nil, "0.0.0+20261130.gabcdef0"},
		{"v0.2.0-rc.1.0.20261130120000-abcdef012345", nil, "0.2.0-rc.1+20261130.gabcdef0"},
		{"(devel)", nil, "devel"},
		{"", map[string]string{"vcs.revision": "abcdef0123456789", "vcs.modified": "true"}, "0.0.0+gabcdef0.dirty"},
	} {
		if got := ofModule(c.module, c.settings); got != c.want {
			t.Errorf("module %q: %q, want %q", c.module, got, c.want)
		}
	}
}
