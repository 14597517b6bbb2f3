package httpfile_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// TestFileIsNotReadWhereTheClientHasIt: a page is read only to find its type, which is not sent
// with 304.
func TestFileIsNotReadWhereTheClientHasIt(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"a.html": "content"})
	asked := 0
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		f, err := httpfile.Open(dir+"/a.html", "a.html")
		if err != nil {
			return err
		}
		defer f.Close()
		return httpfile.Answer{File: f, Type: func() string { asked++; return "text/html" }}.Send(ctx, s, send)
	})
	c := pagitest.New(app)
	first := c.Get("/")
	if first.Status != 200 || asked != 1 {
		t.Errorf("%d, the type was asked for %d times", first.Status, asked)
	}
	if res := c.Get("/", pagitest.Header("if-none-match", first.Header("etag"))); res.Status != 304 || asked != 1 {
		t.Errorf("%d, the type was asked for %d times", res.Status, asked)
	}
}
