package hostname_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
)

func TestValid(t *testing.T) {
	for s, want := range map[string]bool{
		"example.org": true, "example.org:8080": true, "example.org:": true, "a_b.example": true, "127.0.0.1:1": true, "[::1]": true, "[::1]:80": true, "x:0": true,
		"": false, ":80": false, "example.org:x": false, "example.org:65536": false, "example.org:00": false, "::1": false, "[::1": false, "[1.2.3.4]": false,
		"[fe80::1%25eth0]": false, "a b": false, "a/b": false, "user@example.org": false, "ex\r\nample": false, "a,b": false, "ü.example": false, `a"b`: false,
	} {
		if got := hostname.Valid(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestSplit(t *testing.T) {
	for s, want := range map[string][2]string{
		"example.org": {"example.org", ""}, "example.org:80": {"example.org", "80"}, "[::1]": {"[::1]", ""}, "[::1]:80": {"[::1]", "80"}, "": {"", ""},
	} {
		if host, port := hostname.Split(s); host != want[0] || port != want[1] {
			t.Errorf("%q: %q %q", s, host, port)
		}
	}
}
