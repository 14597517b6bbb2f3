package middleware_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleBasicAuth() {
	app := middleware.BasicAuth{
		Realm: "Staff",
		Users: map[string]string{"ann": "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe"}, // htpasswd -nbB ann secret
	}.Wrap(hello)
	res := pagitest.New(app).Get("/")
	fmt.Println(res.Status, res.Header("www-authenticate"))
	// Output: 401 Basic realm="Staff", charset="UTF-8"
}

func basic(user, password string) pagitest.Option {
	return pagitest.Header("authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// hash returns a bcrypt hash that is quick to check.
func hash(t testing.TB, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func TestBasicAuth(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	app := middleware.BasicAuth{Users: map[string]string{
		"ann": hash(t, "secret", 4), "colons": hash(t, "a:b::", 4), "zoë": hash(t, "pässword€", 4), "empty": hash(t, "", 4),
	}}
	for name, tc := range map[string]struct {
		headers []string
		want    string
	}{
		"no credentials":                      {nil, ""},
		"a right password":                    {[]string{"Basic " + encode([]byte("ann:secret"))}, "basic ann"},
		"a wrong password":                    {[]string{"Basic " + encode([]byte("ann:secre"))}, ""},
		"a password that goes on":             {[]string{"Basic " + encode([]byte("ann:secret\x00"))}, ""},
		"an unknown user":                     {[]string{"Basic " + encode([]byte("bob:secret"))}, ""},
		"another case of the user":            {[]string{"Basic " + encode([]byte("Ann:secret"))}, ""},
		"a password with colons":              {[]string{"Basic " + encode([]byte("colons:a:b::"))}, "basic colons"},
		"UTF-8":                               {[]string{"Basic " + encode([]byte("zoë:pässword€"))}, "basic zoë"},
		"an empty password":                   {[]string{"Basic " + encode([]byte("empty:"))}, "basic empty"},
		"no colon":                            {[]string{"Basic " + encode([]byte("empty"))}, ""},
		"an empty user":                       {[]string{"Basic " + encode([]byte(":secret"))}, ""},
		"nothing":                             {[]string{"Basic "}, ""},
		"only the scheme":                     {[]string{"Basic"}, ""},
		"another case of the scheme":          {[]string{"bASIC " + encode([]byte("ann:secret"))}, "basic ann"},
		"several spaces after the scheme":     {[]string{"Basic   " + encode([]byte("ann:secret"))}, "basic ann"},
		"no padding":                          {[]string{"Basic " + strings.TrimRight(encode([]byte("zoë:pässword€")), "=")}, "basic zoë"},
		"no base64":                           {[]string{"Basic ann:secret"}, ""},
		"another scheme":                      {[]string{"Bearer " + encode([]byte("ann:secret"))}, ""},
		"a control character in the user":     {[]string{"Basic " + encode([]byte("ann\n:secret"))}, ""},
		"a control character in the password": {[]string{"Basic " + encode([]byte("ann:secret\x7f"))}, ""},
		"two headers, both right":             {[]string{"Basic " + encode([]byte("ann:secret")), "Basic " + encode([]byte("ann:secret"))}, ""},
		"two headers, one right":              {[]string{"Basic " + encode([]byte("ann:secret")), "Basic " + encode([]byte("bob:x"))}, ""},
		"a header of 6 KB":                    {[]string{"Basic " + encode([]byte("ann:"+strings.Repeat("x", 4500)))}, ""},
	} {
		var opts []pagitest.Option
		for _, h := range tc.headers {
			opts = append(opts, pagitest.Header("authorization", h))
		}
		want := everywhere(tc.want)
		if tc.want == "" {
			want = everywhere("401")
		}
		if diff := cmp.Diff(want, askAll(t, outer(app.Wrap(whoami)), "/", opts...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	res := pagitest.New(middleware.BasicAuth{Realm: `the "staff" \ only`, Users: app.Users}.Wrap(hello)).Get("/")
	if got := res.Header("www-authenticate"); got != `Basic realm="the \"staff\" \\ only", charset="UTF-8"` || strings.Contains(res.Text(), "hello") {
		t.Errorf("%s %q", got, res.Text())
	}
}

func TestBasicAuthProtectsPaths(t *testing.T) {
	app := middleware.BasicAuth{Paths: []string{"/admin", "/private/"}, Users: map[string]string{"ann": hash(t, "secret", 4)}}.Wrap(whoami)
	for target, want := range map[string]string{
		"/": "nobody", "/administrator": "nobody", "/admin": "basic ann", "/admin/x": "basic ann", "//admin": "basic ann",
		"/x/../admin": "basic ann", "/%61dmin": "basic ann", "/private/x": "basic ann",
	} {
		if got := askAll(t, app, target, basic("ann", "secret")); !cmp.Equal(got, everywhere(want)) {
			t.Errorf("%s: %v", target, got)
		}
		if want != "nobody" {
			want = "401"
		}
		if got := askAll(t, app, target, basic("ann", "wrong")); !cmp.Equal(got, everywhere(want)) {
			t.Errorf("%s with a wrong password: %v", target, got)
		}
	}
}

func TestAuthenticator(t *testing.T) {
	broken := errors.New("the database is down")
	app := middleware.BasicAuth{Authenticator: func(_ context.Context, scope *pagi.Scope, user, password string) (bool, error) {
		if user == "broken" {
			return true, &pagi.StatusError{Status: 503, Message: "later", Err: broken}
		}
		return scope.Path == "/"+user && password == "p:w", nil
	}}.Wrap(whoami)
	c := pagitest.New(app)
	c.Get("/ann", basic("ann", "p:w")).Expect(t, 200, "basic ann")
	if res := c.Get("/bob", basic("ann", "p:w")); res.Status != 401 {
		t.Error(res.Status)
	}
	if res := c.Get("/broken", basic("broken", "x")); res.Status != 503 || !errors.Is(res.Err, broken) {
		t.Errorf("%d %v", res.Status, res.Err)
	}
	if res := c.Get("/", basic("", "p:w")); res.Status != 401 {
		t.Errorf("an empty user: %d", res.Status)
	}
}

// The hashes are those of "secret", made by openssl passwd and Perl's crypt.
var schemes = map[string]string{
	"bcrypt":       "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
	"apr1":         "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
	"md5":          "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
	"sha256":       "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.",
	"sha512":       "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
	"sha512rounds": "$6$rounds=1000$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1",
	"sha1":         "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
	"ssha":         "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
	"plain":        "{PLAIN}secret",
}

func TestHashesOfEveryScheme(t *testing.T) {
	c := pagitest.New(middleware.BasicAuth{Users: schemes}.Wrap(whoami))
	for user := range schemes {
		for password, want := range map[string]int{"secret": 200, "Secret": 401, "": 401, strings.Repeat("secret", 500): 401} {
			if res := c.Get("/", basic(user, password)); res.Status != want {
				t.Errorf("%s, %.20q: %d", user, password, res.Status)
			}
		}
	}
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	write(t, file, "\ufeff# staff\r\n\r\nann:"+schemes["apr1"]+":Ann Author\r\nann:{PLAIN}second\n  bob:"+schemes["sha1"]+"\ngiven:{PLAIN}x")
	var log bytes.Buffer
	var mu sync.Mutex
	c := pagitest.New(middleware.BasicAuth{
		HTPasswd: file, Users: map[string]string{"given": "{PLAIN}own"}, Logger: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil)),
	}.Wrap(whoami))
	status := func(user, password string) int { return c.Get("/", basic(user, password)).Status }
	for _, tc := range []struct {
		user, password string
		want           int
	}{{"ann", "secret", 200}, {"ann", "second", 401}, {"bob", "secret", 200}, {"given", "own", 200}, {"given", "x", 401}, {"# staff", "", 401}, {"# staff", "secret", 401}} {
		if got := status(tc.user, tc.password); got != tc.want {
			t.Errorf("%s:%s: %d", tc.user, tc.password, got)
		}
	}

	write(t, file, "ann:{PLAIN}new\n")
	testkit.Eventually(t, "a changed file to be read", func() bool { return status("ann", "new") == 200 })
	if status("ann", "secret") != 401 || status("bob", "secret") != 401 || status("given", "own") != 200 {
		t.Error("former passwords are still right, or given ones are gone")
	}

	told := func(part string) func() bool {
		return func() bool {
			status("ann", "new")
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(log.String(), part)
		}
	}
	write(t, file, "ann:new\n")
	testkit.Eventually(t, "the record of a broken file", told("line 1"))
	if status("ann", "new") != 200 {
		t.Error("a broken file took the place of a right one")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the record of a missing file", told("no such file"))
	if status("ann", "new") != 200 {
		t.Error("a missing file took the place of a right one")
	}
	replaced := filepath.Join(filepath.Dir(file), "next")
	write(t, replaced, "ann:{PLAIN}third\n")
	if err := os.Rename(replaced, file); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a file that was renamed to the name to be read", func() bool { return status("ann", "third") == 200 })
	if n := strings.Count(log.String(), "no such file"); n != 1 {
		t.Errorf("a missing file was logged %d times", n)
	}
}

// locked is a writer that several goroutines may use.
type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestBasicAuthRefusesOptions(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "htpasswd")
	write(t, file, "ann:"+schemes["apr1"]+"\nbob:abNANd1rDfiNc\nno colon\ncas:geheim\n")
	empty := filepath.Join(dir, "empty")
	write(t, empty, "# nobody\n")
	for want, m := range map[string]middleware.BasicAuth{
		`htpasswd: there are no users`: {},
		`htpasswd: ` + file + `, line 2: the password of "bob" is in DES crypt, which cannot be checked and is not safe; set it anew: htpasswd -B ` + file + ` bob`: {HTPasswd: file},
		file + `, line 3: must be a user, a colon and a hash`:              {HTPasswd: file},
		file + `, line 4: the password of "cas" has none of the known`:     {HTPasswd: file},
		`htpasswd: open ` + dir + `/none: no such file`:                    {HTPasswd: dir + "/none"},
		`htpasswd: ` + dir + ` is no file`:                                 {HTPasswd: dir},
		`htpasswd: ` + empty + ` has no users`:                             {HTPasswd: empty},
		`users: the password of "bob" is in DES crypt`:                     {Users: map[string]string{"bob": "abNANd1rDfiNc"}},
		`users: the password of "bob" is no whole bcrypt hash`:             {Users: map[string]string{"bob": "$2y$05$abc"}},
		`users: the password of "bob" has none of the known forms`:         {Users: map[string]string{"bob": "$6$rounds=07$abcdefgh$x"}},
		`users: the password of "bob" is malformed`:                        {Users: map[string]string{"bob": "{SHA}x"}},
		`users: "a:b" is no name of a user`:                                {Users: map[string]string{"a:b": "{PLAIN}x"}},
		`users: "" is no name of a user`:                                   {Users: map[string]string{"": "{PLAIN}x"}},
		`realm: "a\nb" must not contain control`:                           {Realm: "a\nb", Users: schemes},
		`paths: "admin" must begin with a slash`:                           {Paths: []string{"admin"}, Users: schemes},
		`htpasswd: an Authenticator takes the place of users and htpasswd`: {HTPasswd: "x", Authenticator: func(context.Context, *pagi.Scope, string, string) (bool, error) { return true, nil }},
	} {
		err := m.Check()
		if bad := new(*pagi.OptionError); !errors.As(err, bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
			continue
		}
		for _, secret := range []string{"abNANd1rDfiNc", "geheim", "h9FWgUz3n9YxylKLlR5SQ"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error contains %s: %v", secret, err)
			}
		}
		c := pagitest.New(m.Wrap(hello))
		if c.Startup(t.Context()) == nil || c.Get("/").Status != 500 {
			t.Errorf("%s: it starts, or serves", want)
		}
	}
}

// An unknown user takes as long as a known one.
func TestUnknownUsersTakeAsLong(t *testing.T) {
	pagitest.InMemory(t, "it measures time")
	c := pagitest.New(middleware.BasicAuth{Users: map[string]string{"ann": hash(t, "secret", 9)}}.Wrap(hello))
	best := map[string]time.Duration{"ann": time.Hour, "bob": time.Hour, "x": time.Hour}
	alike := func() bool {
		known := best["ann"]
		return best["bob"] > known/2 && best["bob"] < known*2 && best["x"] > known/2 && best["x"] < known*2
	}
	for i := 0; i < 5 || i < 30 && !alike(); i++ { // more often on a busy machine
		for user := range best {
			begun := time.Now()
			c.Get("/", basic(user, fmt.Sprint("wrong", i)))
			best[user] = min(best[user], time.Since(begun))
		}
	}
	if !alike() {
		t.Errorf("ann is known: %v", best)
	}
}

// A flood of wrong passwords waits for one another. A user whose password is known to be right does
// not wait for them.
func TestAFloodOfWrongPasswords(t *testing.T) {
	pagitest.InMemory(t, "it measures time")
	app := middleware.BasicAuth{Users: map[string]string{"ann": hash(t, "secret", 10)}}.Wrap(hello)
	pagitest.New(app).Get("/", basic("ann", "secret")).Expect(t, 200)
	ctx, cancel := context.WithCancel(t.Context())
	var flood, begun sync.WaitGroup
	begun.Add(40)
	for i := range 40 {
		flood.Go(func() {
			begun.Done()
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Path: "/", Headers: pagi.NewHeaders("authorization", "Basic "+base64.StdEncoding.EncodeToString(fmt.Append(nil, "ann:", i)))}
			_ = app.Serve(ctx, scope, nil, func(context.Context, pagi.Event) error { return nil }) // ended by cancel
		})
	}
	begun.Wait()
	best := time.Hour
	for range 5 {
		asked := time.Now()
		pagitest.New(app).Get("/", basic("ann", "secret")).Expect(t, 200)
		best = min(best, time.Since(asked))
	}
	cancel()
	flood.Wait()
	if best > 30*time.Millisecond {
		t.Errorf("a remembered password took %v", best)
	}
}

func BenchmarkBasicAuth(b *testing.B) {
	app := middleware.BasicAuth{Users: map[string]string{"ann": hash(b, "secret", 10)}}.Wrap(hello)
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Path: "/", Headers: pagi.NewHeaders("authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ann:secret")))}
	send := func(context.Context, pagi.Event) error { return nil }
	for b.Loop() {
		if err := app.Serve(b.Context(), scope, nil, send); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzPasswordFile(f *testing.F) {
	f.Add("ann:"+schemes["apr1"]+"\n# x\nbob:{PLAIN}x", "ann", "secret")
	f.Add("ann:"+schemes["sha256"], "ann", "secret")
	f.Add("ann:$6$rounds=1000$abcdefgh$x", "ann", "")
	f.Fuzz(func(t *testing.T, hash, user, password string) {
		if strings.Contains(hash, "$2") || strings.Contains(hash, "rounds") {
			t.Skip("takes long")
		}
		m := middleware.BasicAuth{Users: map[string]string{user: strings.TrimPrefix(hash, "ann:")}}
		if m.Check() == nil {
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Headers: pagi.NewHeaders("authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))}
			_ = m.Wrap(hello).Serve(t.Context(), scope, nil, func(context.Context, pagi.Event) error { return nil }) // must not panic
		}
	})
}
