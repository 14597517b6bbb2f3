package middleware

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestPathsThatProtectAndThatExempt(t *testing.T) {
	for _, c := range []struct {
		option, root, path string
		protects, exempts  bool
	}{
		{"/admin", "", "/admin", true, true},
		{"/admin", "/admin", "", true, true},
		{"/admin", "/admin", "/x", true, false},
		{"/admin/", "/admin", "/x", true, true},
		{"/admin/", "", "/admin", true, false},
		{"/admin/", "", "/admin/", true, true},
		{"/admin", "", "/administrator", false, false},
		{"/admin", "", "/public", false, false},
		{"/admin", "", "//admin/x", true, false},
		{"/admin", "", "/public/../admin", true, false},
		{"/admin", "", "/./admin", true, false},
		{"/public/", "", "/public/../admin", true, false},
		{"/public/", "", "/public//admin", true, false},
		{"/", "", "/", true, true},
		{"/", "", "/x", true, true},
		{"/", "", "", true, false},
	} {
		scope := &pagi.Scope{RootPath: c.root, Path: c.path}
		if got := protects([]string{c.option}, scope); got != c.protects {
			t.Errorf("%s protects %s%s: %v", c.option, c.root, c.path, got)
		}
		if got := exempts([]string{c.option}, scope); got != c.exempts {
			t.Errorf("%s exempts %s%s: %v", c.option, c.root, c.path, got)
		}
	}
	scope := &pagi.Scope{Path: "/x"}
	if !protects(nil, scope) || exempts(nil, scope) {
		t.Error("no paths must protect all and exempt none")
	}
}
