package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/site"
)

// mistaken says whether the rewritten shop still has its mistake.
var mistaken atomic.Bool

var shopKey = session.Key{ID: "k1", Secret: []byte("a secret of thirty-two bytes, ok")}

func init() {
	site.RegisterApp("strangler_shop", func() pagi.App { return withShopSession(endpoint.Func(rewrittenShop)) })
}

// withShopSession puts the session around an application that all parts of the shop share.
func withShopSession(app pagi.App) pagi.App {
	return session.Manager{Store: &session.CookieStore{Keys: []session.Key{shopKey}, Signed: true}}.Wrap(app)
}

// orders is a service of its own: the part of the shop that others write.
func orders(c *endpoint.Context) (*response.Response, error) {
	s, err := c.Session()
	if err != nil {
		return nil, err
	}
	user, err := session.ValueOr(s, "user", "nobody")
	if err != nil {
		return nil, err
	}
	if c.Method() == "POST" {
		if err := s.Set("ordered", "a book"); err != nil {
			return nil, err
		}
	}
	ordered, err := session.ValueOr(s, "ordered", "nothing")
	return response.Text(fmt.Sprintf("%s: %s has ordered %s\n", c.Path(), user, ordered)), err
}

// rewrittenShop is the part of the shop that is in Go already.
func rewrittenShop(c *endpoint.Context) (*response.Response, error) {
	switch c.Request.Method() + " " + c.Request.Path() {
	case "GET /books":
		return response.HTML("<h1>Books</h1>\n"), nil
	case "GET /prices":
		price := "5 EUR"
		if mistaken.Load() {
			price = "EUR 5"
		}
		return response.HTML("<h1>" + price + "</h1>\n"), nil
	case "POST /login":
		s, _ := session.FromScope(c.Request.Scope())
		if err := s.Set("user", "ann"); err != nil {
			return nil, err
		}
		return response.Text("welcome\n"), nil
	}
	return response.Text("not yet\n").Status(404), nil
}

const oldShop = `package Shop;
use Dancer2;
set charset => 'UTF-8';
set log => 'error';
require 'READER';
my $keys = {k1 => pack 'H*', 'SECRET'};
get '/books' => sub { "<h1>Books</h1>\n" };
get '/prices' => sub { "<h1>5 EUR</h1>\n" };
get '/basket' => sub {
	my $session = verify(cookie('pagi_session') // '', 'pagi_session', $keys, time);
	$session ? "$session->{data}{user}: $session->{data}{ordered}\n" : "nothing\n";
};
get '/contact' => sub { "<h1>Contact</h1>\n" };
get '/whoami' => sub {
	my $session = verify(cookie('pagi_session') // '', 'pagi_session', $keys, time);
	'user ' . ($session ? $session->{data}{user} : 'nobody') . "\n";
};
__PACKAGE__->to_app;
`

// A Dancer2 application is replaced route by route: the new routes are first compared with the old
// ones on real requests, and then stand in front of them. A third part is another service behind a proxy.
// All of them share one session.
func TestStrangler(t *testing.T) {
	if out, err := exec.Command("perl", "-MDancer2", "-e1").CombinedOutput(); err != nil {
		t.Skipf("Dancer2 is not installed (apt-get install libdancer2-perl): %s", out)
	}
	reader, err := filepath.Abs("../../examples/session-cookie/session-cookie.pl")
	if err != nil {
		t.Fatal(err)
	}
	shop := strings.NewReplacer("READER", reader, "SECRET", hex.EncodeToString(shopKey.Secret)).Replace(oldShop)
	service := httptest.NewServer(nethttp.Handler(withShopSession(endpoint.Func(orders))))
	defer service.Close()
	dir := testkit.Tree(t, map[string]string{
		"shop.psgi": shop,
		"compare.yaml": "mounts:\n  - path: /\n    shadow: [{psgi: shop.psgi, workers: 1}, {go: strangler_shop}]\n    skip: [404, 405]\n" +
			"    headers: [location]\n",
		"replace.yaml": "mounts:\n  - path: /\n    cascade: [{go: strangler_shop}, {psgi: shop.psgi, workers: 1}]\n" +
			"  - path: /orders\n    proxy: " + service.URL + "/orders\n",
	})

	mistaken.Store(true)
	c, log, s := buildSite(t, filepath.Join(dir, "compare.yaml"))
	shadow := s.Mounts[0].Options.(*apps.Shadow)
	browse := func(c *pagitest.Client) {
		for path, want := range map[string]string{"/books": "<h1>Books</h1>\n", "/prices": "<h1>5 EUR</h1>\n", "/contact": "<h1>Contact</h1>\n"} {
			if res := c.Get(path); res.Status != 200 || res.Text() != want {
				t.Errorf("%s: %d %q %v", path, res.Status, res.Text(), res.Err)
			}
		}
	}
	done := func(n int64) func() bool {
		return func() bool { st := shadow.Stats(); return st.Compared+st.Skipped == n }
	}
	browse(c)
	testkit.Eventually(t, "three copies are answered", done(3))
	if st := shadow.Stats(); st != (apps.ShadowStats{Compared: 2, Different: 1, Skipped: 1}) {
		t.Errorf("%+v", st)
	}
	log.WaitFor(t, "answers differ", "what=body", "target=/prices")
	mistaken.Store(false)
	browse(c)
	testkit.Eventually(t, "the copies of the mended routes are answered", done(6))
	if st := shadow.Stats(); st != (apps.ShadowStats{Compared: 4, Different: 1, Skipped: 2}) {
		t.Errorf("after the mistake is mended: %+v", st)
	}

	c, log, _ = buildSite(t, filepath.Join(dir, "replace.yaml"))
	defer func() {
		if t.Failed() {
			t.Log(log)
		}
	}()
	browse(c)
	c.Get("/whoami").Expect(t, 200, "user nobody\n")
	c.Get("/orders/list").Expect(t, 200, "/orders/list: nobody has ordered nothing\n")
	c.Post("/login").Expect(t, 200, "welcome\n")
	c.Get("/whoami").Expect(t, 200, "user ann\n")
	c.Get("/orders/list").Expect(t, 200, "/orders/list: ann has ordered nothing\n")
	c.Post("/orders/new").Expect(t, 200, "/orders/new: ann has ordered a book\n")
	c.Get("/basket").Expect(t, 200, "ann: a book\n") // the old shop, which reads what the service has set
	pagitest.New(c.App).Get("/orders/list").Expect(t, 200, "/orders/list: nobody has ordered nothing\n")
}

// buildSite makes a test client of a site file.
func buildSite(t *testing.T, file string) (*pagitest.Client, *testkit.Log, *site.Site) {
	t.Helper()
	s, err := site.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	log := &testkit.Log{}
	s.Logger = log.Logger()
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(app)
	c.Timeout = testkit.Patience
	if err := c.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c, log, s
}
