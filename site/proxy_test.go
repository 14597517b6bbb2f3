package site_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
)

func TestTheDocumentedProxiesAreRight(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"site.yaml": block(t, page(t)["proxy"], 0)})
	s, err := site.Load(filepath.Join(dir, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(); err != nil {
		t.Error(err)
	}
}

func TestAProxyInASiteFile(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		fmt.Fprint(w, r.RequestURI, " ", r.Header.Get("X-Token"), " ", r.Form.Get("a"))
	}))
	defer backend.Close()
	dir := testkit.Tree(t, map[string]string{"site.yaml": `
max_body_size: 10
mounts:
  - path: /one
    proxy: ` + backend.URL + `
  - path: /two
    proxy:
      to: ["` + backend.URL + `/inner weight=2"]
      request_headers: {set: {x-token: secret}}
      response_timeout: 5
      max_fails: -1
`})
	s, err := site.Load(filepath.Join(dir, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.Start(t, app)
	c.Get("/one/a").Expect(t, 200, "/a  ")
	c.Get("/two/a%2Fb?a=1").Expect(t, 200, "/inner/a%2Fb?a=1 secret 1")
	now := s.All()[1].Status()
	if now.Kind != "proxy" || now.Backend == nil || now.Totals.Requests != 1 || now.Upstreams[0].Address != backend.URL+"/inner" || len(s.Status()) != 0 {
		t.Errorf("%+v, %+v", now, s.Status())
	}

	wrong := testkit.Tree(t, map[string]string{"site.yaml": "mounts:\n  - path: /\n    proxy: localhost:3000\n"})
	s, err = site.Load(filepath.Join(wrong, "site.yaml"))
	if err == nil {
		_, err = s.Build()
	}
	if err == nil || !strings.Contains(err.Error(), "site.yaml:3:12: to: ") || !strings.Contains(err.Error(), "must begin with http://") {
		t.Errorf("%v", err)
	}
}
