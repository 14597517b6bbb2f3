package network_test

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/network"
)

func TestHasHost(t *testing.T) {
	for _, c := range []struct {
		list string
		host string
		want bool
	}{
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"10.0.0.0/8", "10.200.0.2", true},
		{"10.1.2.3/8", "10.200.0.2", true},
		{"10.0.0.0/8", "::ffff:10.0.0.2", true},
		{"::ffff:10.0.0.2", "10.0.0.2", true},
		{"::ffff:10.0.0.0/104", "10.0.0.2", true},
		{"::ffff:10.0.0.0/104", "::ffff:10.0.0.2", true},
		{"::ffff:10.0.0.0/104", "11.0.0.2", false},
		{"::ffff:0.0.0.0/96", "192.0.2.7", true},
		{"fe80::/10", "fe80::1%eth0", true},
		{"::1", "::1", true},
		{"0.0.0.0/0", "::1", false},
		{"10.0.0.0/8 ::1", "::1", true},
		{"10.0.0.0/8", "", false},
		{"10.0.0.0/8", "/run/site.sock", false},
		{"unix", "/run/site.sock", true},
		{"unix", "@site", true},
		{"unix", "", true},
		{"unix", "10.0.0.1", false},
		{"unix", "localhost", false},
		{"", "10.0.0.1", false},
	} {
		set, err := network.ParseSet(strings.Fields(c.list))
		if err != nil {
			t.Errorf("%s: %v", c.list, err)
		}
		if got := set.HasHost(c.host); got != c.want {
			t.Errorf("%q has %q: %v", c.list, c.host, got)
		}
	}
}

func TestParseSetRefuses(t *testing.T) {
	for _, list := range []string{"localhost", "10.0.0.0/33", "10.0.0", "*", "", "::ffff:10.0.0.0/90"} {
		if _, err := network.ParseSet([]string{list}); err == nil || !strings.Contains(err.Error(), "neither a") {
			t.Errorf("%q: %v", list, err)
		}
	}
}
