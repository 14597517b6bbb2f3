package site_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func TestConditionsOfMiddleware(t *testing.T) {
	s, problem := loadTree(t, map[string]string{
		"site.yaml": `
middleware:
  - runtime: {when: {path: [/a, "*.pdf"], method: GET}, header: X-Took}
  - request_id: {unless: {address: 192.0.2.0/24}}
mounts:
  - path: /
    not_found: gone
    middleware:
      - security_headers: {when: {host: "*.example.org", header: {accept: "text/*"}}}
`}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(app)
	for _, tc := range []struct {
		method, path, host, accept string
		want                       string
	}{
		{"GET", "/a/b", "example.org", "text/html", "x-took x-request-id"},
		{"GET", "/x.pdf", "example.org", "text/html", "x-took x-request-id"},
		{"POST", "/a", "example.org", "text/html", "x-request-id"},
		{"GET", "/", "www.example.org", "text/html", "x-request-id x-frame-options"},
		{"GET", "/", "www.example.org", "image/png", "x-request-id"},
	} {
		res := c.Do(tc.method, tc.path, pagitest.Header("host", tc.host), pagitest.Header("accept", tc.accept))
		var got []string
		for _, name := range []string{"x-took", "x-request-id", "x-frame-options"} {
			if res.Header(name) != "" {
				got = append(got, name)
			}
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" || res.Err != nil {
			t.Errorf("%s %s %s: %v %s", tc.method, tc.host, tc.path, res.Err, diff)
		}
	}
}

func TestWrongConditionsOfMiddleware(t *testing.T) {
	for text, want := range map[string]string{
		"[{head: {when: /a}}]":                     `site.yaml:1:55: when: must be a mapping, is "/a"`,
		"[{head: {when: {paths: /a}}}]":            `site.yaml:1:56: unknown key "paths" in "when"; did you mean "path"?`,
		"[{head: {when: {path: a}}}]":              `site.yaml:1:55: when: path: "a" must begin with a slash, or be an ending such as *.pdf`,
		"[{head: {unless: {address: localhost}}}]": `site.yaml:1:57: unless: address: "localhost" is neither an IP address nor a network as 10.0.0.0/8`,
		"[{head: {when: {header: {a: [b]}}}}]":     `site.yaml:1:68: header: cannot unmarshal []interface {} into Go value of type string`,
		"[{head: {if: {path: /a}}}]":               `site.yaml:1:49: unknown key "if" in the middleware head`,
	} {
		s, got := loadTree(t, map[string]string{"site.yaml": "{mounts: [{not_found: x}], middleware: " + text + "}\n"}, nil)
		if s != nil {
			_, err := s.Build()
			if err == nil {
				t.Errorf("%s is accepted", text)
				continue
			}
			got = strings.ReplaceAll(err.Error(), strings.TrimSuffix(s.File, "site.yaml"), "")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestMiddlewareInAWrongOrderIsWarnedAbout(t *testing.T) {
	s, problem := loadTree(t, map[string]string{
		"site.yaml": `
middleware: [https_redirect, head]
mounts:
  - {path: /, not_found: x, middleware: [reverse_proxy]}
  - {path: /a, not_found: x, middleware: [content_length]}
`}, nil)
	if s == nil {
		t.Fatal(problem)
	}
	want := "site.yaml:4:42: reverse_proxy must stand in front of https_redirect, because otherwise https_redirect sees the proxy instead of the client"
	if diff := cmp.Diff(want, strings.ReplaceAll(s.Warnings.Error(), strings.TrimSuffix(s.File, "site.yaml"), "")); diff != "" {
		t.Error(diff)
	}
}
