package site_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAPlaceMayBeAMapping(t *testing.T) {
	s, problem := loadTree(t, map[string]string{"site.yaml": `
listen:
  - :80,redirect
  - {address: ":443", tls: true}
  - address: "[::1]:8080"
    plain: true
    proxy: true
    tls: false
  - {address: ":81", redirect: 8443}
  - {address: ":82", redirect: true}
  - {address: unix:@abstract, mode: 0660}
  - {address: /run/s.sock, mode: 0660, owner: 0, group: "0"}
  - {address: ./run/s.sock, mode: 0660}
  - {address: unix:t.sock}
  - {address: ":83", tls: false}
  - {address: ":84", plain: false}
mounts: [{file: .}]
`}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	dir := filepath.Dir(s.File)
	want := []string{":80,redirect", ":443,tls", "[::1]:8080,plain,proxy", ":81,redirect=8443", ":82,redirect", "unix:@abstract,mode=0660", "unix:/run/s.sock,mode=0660,owner=0,group=0",
		"unix:" + dir + "/run/s.sock,mode=0660", "unix:" + dir + "/t.sock", ":83,plain", ":84"}
	if diff := cmp.Diff(want, s.Settings.Listen); diff != "" {
		t.Error(diff)
	}
}

func TestOnePlaceNeedsNoList(t *testing.T) {
	s, problem := loadTree(t, map[string]string{"site.yaml": "listen: {address: ':81', plain: true}\nmounts: [{file: .}]\n"}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	if diff := cmp.Diff([]string{":81,plain"}, s.Settings.Listen); diff != "" {
		t.Error(diff)
	}
}

func TestAWrongPlaceIsFoundByItsOption(t *testing.T) {
	for text, want := range map[string]string{
		"{address: ':80', ssl: true}":               `site.yaml:1:27: listen: "ssl" is no option of a place to listen at; there are tls, plain, redirect, proxy, mode, owner and group`,
		"{address: ':80', tls: 1}":                  `site.yaml:1:32: listen: tls must be true or false, is "1"`,
		"{address: ':80', redirect: x}":             `site.yaml:1:37: listen: redirect must have a port, or be true or false, is "x"`,
		"{address: ./s, mode: 999}":                 `site.yaml:1:31: listen: mode must be an octal mode like 0660, is "999"`,
		"{tls: true}":                               `site.yaml:1:10: listen: has no address; write a place as {address: ":443", tls: true}`,
		"{address: ':x'}":                           `site.yaml:1:10: listen: ":x" has a port that is not 0 to 65535: "x"`,
		"{address: ':1', tls: true, plain: true}":   `site.yaml:1:10: listen: ":1" cannot be tls and plain or redirect at once`,
		"{address: ':1', tls: false, plain: false}": `site.yaml:1:10: listen: ":1" must be tls or plain; one of them is true`,
		"{address: ':1', tls: [true]}":              `site.yaml:1:31: listen: tls: must be text, a number, true or false, is a list`,
		"{address: ':1,tls'}":                       `site.yaml:1:10: listen: ":1,tls" has a comma in its address, owner or group`,
	} {
		t.Run(text, func(t *testing.T) {
			_, got := loadTree(t, map[string]string{"site.yaml": "listen: [" + text + "]\nmounts: [{file: .}]\n"}, nil)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
