//go:build unix

package cgi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestABadOptionIsNamedWhenTheAppIsBuilt(t *testing.T) {
	for name, c := range map[string]struct {
		options CGI
		want    string
	}{
		"nothing to serve":             {CGI{}, "root: set it"},
		"root and script":              {CGI{Root: scripts, Script: scripts + "/hello.cgi"}, "script: cannot be combined"},
		"root that is missing":         {CGI{Root: "testdata/none"}, "root: stat"},
		"root that is a file":          {CGI{Root: scripts + "/hello.cgi"}, "root: "},
		"script that is missing":       {CGI{Script: "testdata/none.cgi"}, "script: stat"},
		"script that is a directory":   {CGI{Script: scripts}, "is not a file"},
		"script without execute bit":   {CGI{Script: scripts + "/noexec.cgi"}, "chmod +x"},
		"index with a path":            {CGI{Root: scripts, Index: "a/b"}, "index: "},
		"index that is hidden":         {CGI{Root: scripts, Index: ".index"}, "index: "},
		"index of a script":            {CGI{Script: scripts + "/hello.cgi", Index: "x"}, "index: "},
		"document root that is no dir": {CGI{Root: scripts, DocumentRoot: scripts + "/hello.cgi"}, "document_root: "},
		"negative grace":               {CGI{Root: scripts, KillAfter: -1}, "kill_after: "},
		"negative run time":            {CGI{Root: scripts, MaxRequestTime: -1}, "max_request_time: "},
		"too large a header limit":     {CGI{Root: scripts, HeaderLimit: 1<<20 + 1}, "header_limit: "},
		"a word nph does not have":     {CGI{Root: scripts, NPH: "maybe"}, "nph: must be one of auto, on, off"},
		"an extension without a dot":   {CGI{Root: scripts, Interpreters: map[string]string{"pl": "/bin/sh"}}, "interpreters: "},
		"an extension of two":          {CGI{Root: scripts, Interpreters: map[string]string{".a.pl": "/bin/sh"}}, "interpreters: "},
		"a relative interpreter":       {CGI{Root: scripts, Interpreters: map[string]string{".pl": "perl"}}, "interpreters: .pl: must be the absolute path"},
		"an interpreter not there":     {CGI{Root: scripts, Interpreters: map[string]string{".pl": "/no/such/perl"}}, "interpreters: .pl: "},
		"an interpreter that is none":  {CGI{Root: scripts, Interpreters: map[string]string{".pl": "/etc/passwd"}}, "is no program"},
		"a word static does not have":  {CGI{Root: scripts, Static: "allow"}, "static: must be one of"},
		"files without an application": {CGI{Root: scripts, Static: "serve"}, "static: serve needs"},
		"negative queue":               {CGI{Root: scripts, QueueSize: -1}, "queue_size: "},
		"negative places of a script":  {CGI{Root: scripts, ScriptConcurrency: -1}, "script_concurrency: "},
		"a word chunked does not have": {CGI{Root: scripts, Chunked: "maybe"}, "chunked: must be one of"},
		"negative output":              {CGI{Root: scripts, OutputSize: -1}, "output_size: "},
		"variable without a name":      {CGI{Root: scripts, Env: map[string]string{"": "x"}}, "env: "},
		"variable with a bad name":     {CGI{Root: scripts, Env: map[string]string{"A=B": "x"}}, "env: "},
		"variable with NUL":            {CGI{Root: scripts, Env: map[string]string{"A": "\x00"}}, "env: "},
		"passed variable, bad name":    {CGI{Root: scripts, PassEnv: []string{"A=B"}}, "pass_env: "},
	} {
		_, err := c.options.Build()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestOptionsHaveTheirNamesInASiteFile(t *testing.T) {
	const file = `
root: cgi-bin
index: index.cgi
nph: on
document_root: htdocs
env: {REDIRECT_STATUS: "200"}
pass_env: [PERL5LIB]
authorization: true
server_software: old-httpd
server_admin: web@example.org
request_timeout: 90s
max_request_time: 10m
kill_after: 2s
concurrency: 8
queue_timeout: 5s
header_limit: 8192
stderr_rate: 10
interpreters: {.pl: /usr/bin/perl}
path_info: false
static: serve
script_concurrency: 3
queue_size: 50
chunked: refuse
buffer_output: true
output_size: 1000
directories:
  - path: /admin
    request_timeout: 1m
    path_info: true
`
	var got CGI
	if err := yaml.UnmarshalWithOptions([]byte(file), &got, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	want := CGI{
		Root: "cgi-bin", Index: "index.cgi", NPH: "on", DocumentRoot: "htdocs",
		Env: map[string]string{"REDIRECT_STATUS": "200"}, PassEnv: []string{"PERL5LIB"}, Authorization: true,
		ServerSoftware: "old-httpd", ServerAdmin: "web@example.org", RequestTimeout: 90 * time.Second, MaxRequestTime: 10 * time.Minute, KillAfter: 2 * time.Second,
		Concurrency: 8, QueueTimeout: 5 * time.Second, HeaderLimit: 8192, StderrRate: 10,
		Interpreters: map[string]string{".pl": "/usr/bin/perl"}, PathInfo: new(false), Static: "serve", ScriptConcurrency: 3, QueueSize: 50, Chunked: "refuse", BufferOutput: new(true), OutputSize: 1000,
		Directories: []Directory{{Path: "/admin", CGI: CGI{RequestTimeout: time.Minute, PathInfo: new(true)}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(CGI{}, "Redirect", "Logger", "Files")); diff != "" {
		t.Error(diff)
	}
	if err := yaml.UnmarshalWithOptions([]byte("script: a.cgi"), &got, yaml.Strict()); err != nil || got.Script != "a.cgi" {
		t.Errorf("script: %v", err)
	}
}

func TestOtherScopesAreDeclined(t *testing.T) {
	application := build(t, CGI{})
	for _, kind := range []string{pagi.TypeWebSocket, pagi.TypeSSE, "carrier-pigeon"} {
		err := application.Serve(context.Background(), &pagi.Scope{Type: kind}, nil, nil)
		if !errors.Is(err, pagi.ErrUnsupported) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
