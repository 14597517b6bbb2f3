package middleware_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleAccess() {
	app := middleware.Access{Allow: []string{"10.0.0.0/8"}}.Wrap(hello)
	for _, client := range []string{"10.0.0.7", "192.0.2.7"} {
		app := middleware.ReverseProxy{}.Wrap(app)
		fmt.Println(client, pagitest.New(app).Get("/", pagitest.Header("X-Forwarded-For", client)).Status)
	}
	// Output:
	// 10.0.0.7 200
	// 192.0.2.7 403
}

func TestAccess(t *testing.T) {
	for name, tc := range map[string]struct {
		allow, deny, client string
		want                bool
	}{
		"allowed":                          {"10.0.0.0/8", "", "10.0.0.1", true},
		"not allowed":                      {"10.0.0.0/8", "", "11.0.0.1", false},
		"of another family":                {"10.0.0.0/8", "", "::1", false},
		"in the form of IPv6":              {"10.0.0.0/8", "", "::ffff:10.0.0.1", true},
		"denied":                           {"", "10.0.0.0/8", "10.0.0.1", false},
		"not denied":                       {"", "10.0.0.0/8", "11.0.0.1", true},
		"denied inside an allowed network": {"10.0.0.0/8", "10.0.0.13", "10.0.0.13", false},
		"beside the one that is denied":    {"10.0.0.0/8", "10.0.0.13", "10.0.0.14", true},
		"allowed inside a denied network":  {"10.0.0.13", "10.0.0.0/8", "10.0.0.13", true},
		"in neither of two lists":          {"10.0.0.13", "10.0.0.0/8", "192.0.2.7", false},
		"in both":                          {"10.0.0.13", "10.0.0.13", "10.0.0.13", false},
		"a Unix socket that is allowed":    {"unix 10.0.0.13", "", "/run/x", true},
		"a Unix socket that is not":        {"10.0.0.13", "", "/run/x", false},
		"a Unix socket that is denied":     {"", "unix", "", false},
		"a Unix socket in both":            {"unix", "unix", "", false},
		"a Unix socket that is not denied": {"", "10.0.0.13", "", true},
		"a host that is no address":        {"", "10.0.0.13", "unknown", false},
	} {
		m := middleware.Access{Allow: strings.Fields(tc.allow), Deny: strings.Fields(tc.deny)}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, scope := range []pagi.Scope{
			{Type: pagi.TypeHTTP}, {Type: pagi.TypeSSE}, {Type: pagi.TypeWebSocket, Extensions: map[string]any{pagi.ExtDenialResponse: struct{}{}}},
		} {
			scope.Client = pagi.Addr{Host: tc.client}
			got, status := reaches(t, m, scope)
			if got != tc.want || !got && status != 403 {
				t.Errorf("%s, %s: %v, %d", name, scope.Type, got, status)
			}
		}
	}
	m := middleware.Access{Allow: []string{"10.0.0.1"}, Paths: []string{"/admin"}, Status: 404}
	for path, want := range map[string]int{"/": 0, "/admin": 404, "//admin/x": 404, "/administrator": 0} {
		if got, status := reaches(t, m, pagi.Scope{Type: pagi.TypeHTTP, Path: path}); got != (want == 0) || status != want {
			t.Errorf("%s: %v, %d", path, got, status)
		}
	}
}

func TestAccessOptions(t *testing.T) {
	for want, m := range map[string]middleware.Access{
		`allow: is missing, and so is deny`:                                       {},
		`allow: "localhost" is neither an IP address nor a network as 10.0.0.0/8`: {Allow: []string{"localhost"}},
		`deny: "x" is neither an IP address nor a network as 10.0.0.0/8`:          {Deny: []string{"x"}},
		`paths: "x" must begin with a slash`:                                      {Deny: []string{"::1"}, Paths: []string{"x"}},
		`paths: "//x" must be written as "/x"`:                                    {Deny: []string{"::1"}, Paths: []string{"/y/", "//x"}},
		`status: must be 400 to 599, is 200`:                                      {Deny: []string{"::1"}, Status: 200},
	} {
		checkFails(t, m, want)
	}
}

func ExampleTrustedHosts() {
	app := middleware.TrustedHosts{Hosts: []string{"example.org", "*.example.org"}}.Wrap(hello)
	for _, host := range []string{"www.example.org:8080", "evil.example"} {
		fmt.Println(host, pagitest.New(app).Get("/", pagitest.Header("host", host)).Status)
	}
	// Output:
	// www.example.org:8080 200
	// evil.example 400
}

func TestTrustedHosts(t *testing.T) {
	for name, tc := range map[string]struct {
		hosts, host string
		empty       bool
		want        int // 0: the request reaches the application
	}{
		"the host":                        {"example.org", "example.org", false, 0},
		"in upper case":                   {"Example.org", "EXAMPLE.ORG", false, 0},
		"with a port":                     {"example.org", "example.org:8080", false, 0},
		"with a dot at the end":           {"example.org", "example.org.", false, 0},
		"listed with a dot at the end":    {"example.org.", "example.org", false, 0},
		"another host":                    {"example.org", "example.com", false, 421},
		"a name below":                    {"example.org", "www.example.org", false, 421},
		"a name below a pattern":          {"*.example.org", "a.b.example.org", false, 0},
		"the pattern's own name":          {"*.example.org", "example.org", false, 421},
		"a suffix that is no name below":  {"*.example.org", "evilexample.org", false, 421},
		"nothing below":                   {"*.example.org", ".example.org", false, 421},
		"an address":                      {"[::1]", "[::1]:80", false, 0},
		"every host":                      {"*", "any.example", false, 0},
		"every host that can be one":      {"*", "a/b", false, 400},
		"a user in front":                 {"example.org", "example.org@evil.example", false, 400},
		"a port that is none":             {"example.org", "example.org:evil", false, 400},
		"no host":                         {"*", "", false, 400},
		"no host where that is allowed":   {"example.org", "", true, 0},
		"a wrong host where none is fine": {"example.org", "x.example", true, 421},
	} {
		m := middleware.TrustedHosts{Hosts: []string{tc.hosts}, AllowEmpty: tc.empty, Status: 421}
		for _, typ := range []string{pagi.TypeHTTP, pagi.TypeSSE} {
			scope := pagi.Scope{Type: typ}
			if tc.host != "" {
				scope.Headers = pagi.NewHeaders("host", tc.host)
			}
			if got, status := reaches(t, m, scope); got != (tc.want == 0) || status != tc.want {
				t.Errorf("%s, %s: %v, %d", name, typ, got, status)
			}
		}
	}
	for want, m := range map[string]middleware.TrustedHosts{
		`hosts: is missing`: {},
		`hosts: "a:80" must be a host name without a port, or one with *. in front`: {Hosts: []string{"a:80"}},
		`hosts: "a.*" must be a host name without a port, or one with *. in front`:  {Hosts: []string{"a.*"}},
		`status: must be 400 to 599, is 302`:                                        {Hosts: []string{"a"}, Status: 302},
	} {
		checkFails(t, m, want)
	}
}
