package request_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

func TestBasicAuth(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		header         string
		user, password string
		ok             bool
	}{
		"a user and a password":  {"Basic " + encode("ann:secret"), "ann", "secret", true},
		"the scheme in any case": {"bAsIc " + encode("ann:secret"), "ann", "secret", true},
		"a colon in a password":  {"Basic " + encode("ann:a:b:"), "ann", "a:b:", true},
		"an empty password":      {"Basic " + encode("ann:"), "ann", "", true},
		"an empty user":          {"Basic " + encode(":x"), "", "x", true},
		"UTF-8":                  {"Basic " + encode("ånn:hemlighet€"), "ånn", "hemlighet€", true},
		"no padding":             {"Basic " + strings.TrimRight(encode("a:bc"), "="), "a", "bc", true},
		"two spaces":             {"Basic  " + encode("a:b"), "a", "b", true},
		"no colon":               {"Basic " + encode("ann"), "", "", false},
		"no base64":              {"Basic %%%", "", "", false},
		"another scheme":         {"Bearer " + encode("ann:secret"), "", "", false},
		"nothing behind it":      {"Basic", "", "", false},
	} {
		user, password, ok := with(t, "authorization", c.header).BasicAuth()
		if user != c.user || password != c.password || ok != c.ok {
			t.Errorf("%s: %q, %q, %v", name, user, password, ok)
		}
	}
	if _, _, ok := with(t).BasicAuth(); ok {
		t.Error("credentials without a header")
	}
	one := "Basic " + encode("a:b")
	if _, _, ok := with(t, "authorization", one, "authorization", one).BasicAuth(); ok {
		t.Error("credentials of two headers")
	}
}

func TestBearer(t *testing.T) {
	for name, c := range map[string]struct {
		header, token string
		ok            bool
	}{
		"a token":               {"Bearer abc.DEF-123_~+/==", "abc.DEF-123_~+/==", true},
		"any case":              {"BEARER x", "x", true},
		"no token":              {"Bearer ", "", false},
		"only padding":          {"Bearer ==", "", false},
		"padding in the middle": {"Bearer a=b", "", false},
		"two words":             {"Bearer a b", "", false},
		"a quote":               {`Bearer "a"`, "", false},
		"another scheme":        {"Basic x", "", false},
	} {
		token, ok := with(t, "authorization", c.header).Bearer()
		if token != c.token || ok != c.ok {
			t.Errorf("%s: %q, %v", name, token, ok)
		}
	}
}

func TestClientIP(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::1", "/run/x.sock": "invalid IP", "": "invalid IP",
	} {
		r := request.New(t.Context(), &pagi.Scope{Client: pagi.Addr{Host: host}}, nil)
		if got := r.ClientIP().String(); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
	}
}
