// Command 20-mixed-site serves a site made of four runtimes: a guestbook in Perl
// (PSGI), a cgi-bin with scripts in Perl, sh and Python, static files, and a home
// page in Go. The page in Go is registered here and mounted by site.yaml, beside
// the others; apart from that this is the pagi-bridge command.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"runtime"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/site"
	"github.com/pagi-go/pagi-bridge/site/command"
)

//go:embed home.html
var homeSource string

var homeTemplate = template.Must(template.New("home").Parse(homeSource))

type page struct{ Path, Title, Runtime, Shows string }

var pages = []page{
	{"/", "Home", "Go", "a native PAGI application"},
	{"/guestbook/", "Guestbook", "Perl, PSGI", "preforked workers, a form, a file under a lock"},
	{"/cgi-bin/form.cgi", "Form", "Perl, CGI", "a process for each request"},
	{"/cgi-bin/env.sh", "Environment", "sh, CGI", "what a script is told (RFC 3875)"},
	{"/cgi-bin/upload.py", "Upload", "Python, CGI", "a body streamed to a script"},
	{"/static/style.css", "Style sheet", "Go", "a file by sendfile, with ETag and ranges"},
}

// home answers "/" and nothing else.
func home(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	switch {
	case scope.Path != "/":
		return &pagi.StatusError{Status: 404, Message: "There is no such page."}
	case scope.Method != "GET" && scope.Method != "HEAD":
		return &pagi.StatusError{Status: 405, Message: "This page can only be read.", Headers: pagi.NewHeaders("allow", "GET, HEAD")}
	}
	var html bytes.Buffer
	err := homeTemplate.Execute(&html, map[string]any{"Pages": pages, "Version": runtime.Version(), "HTTP": scope.HTTPVersion})
	if err != nil {
		return err
	}
	start := pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/html; charset=utf-8")}
	if err := send(ctx, start); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: html.Bytes()})
}

func main() {
	site.RegisterApp("home", func() pagi.App { return pagi.AppFunc(home) })
	command.Main()
}
