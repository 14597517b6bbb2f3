package pagitest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// redirecting answers /STATUS/... with a redirect of that status to its query, and other paths with
// what it got.
func redirecting(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	b, err := io.ReadAll(request.BodyReader(ctx, receive))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(s.Path, "/"), "/")
	if status, err := strconv.Atoi(first); err == nil {
		ev := pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders("set-cookie", "last="+first+"; Path=/")}
		if s.QueryString != "" {
			ev.Headers.Add("location", s.QueryString)
		}
		return errors.Join(send(ctx, ev), send(ctx, body("")))
	}
	got := fmt.Sprintf("%s %s://%s%s %q type=%q cookie=%q auth=%q", s.Method, s.Scheme, s.Headers.Get("host"), s.RequestURI(), b,
		s.Headers.Get("content-type"), s.Headers.Get("cookie"), s.Headers.Get("authorization"))
	return errors.Join(send(ctx, start()), send(ctx, body(got)))
}

func ExampleFollowRedirects() {
	client := pagitest.New(pagi.AppFunc(redirecting))
	res := client.Post("/303/form?/done", pagitest.FollowRedirects(), pagitest.Form("a", "1"))
	fmt.Println(res.Status, len(res.History), res.History[0].Status, res.History[0].Header("location"))
	fmt.Println(res.Text())
	// Output:
	// 200 1 303 /done
	// GET http://testserver/done "" type="" cookie="last=303" auth=""
}

func TestRedirects(t *testing.T) {
	form := []pagitest.Option{pagitest.Form("a", "1"), pagitest.Header("authorization", "Bearer x")}
	for name, tt := range map[string]struct {
		method, target string
		hosts          []string
		status         int
		want           string
		history        int
	}{
		"301 of a POST":              {"POST", "/301?/x", nil, 200, `GET http://testserver/x "" type="" cookie="last=301" auth="Bearer x"`, 1},
		"302 of a POST":              {"POST", "/302?/x", nil, 200, `GET http://testserver/x "" type="" cookie="last=302" auth="Bearer x"`, 1},
		"302 of a PUT":               {"PUT", "/302?/x", nil, 200, `PUT http://testserver/x "a=1" type="application/x-www-form-urlencoded" cookie="last=302" auth="Bearer x"`, 1},
		"303 of a PUT":               {"PUT", "/303?/x", nil, 200, `GET http://testserver/x "" type="" cookie="last=303" auth="Bearer x"`, 1},
		"307":                        {"POST", "/307?/x", nil, 200, `POST http://testserver/x "a=1" type="application/x-www-form-urlencoded" cookie="last=307" auth="Bearer x"`, 1},
		"308 twice":                  {"POST", "/308?/308?/x%2Fy?z=%20", nil, 200, `POST http://testserver/x%2Fy?z=%20 "a=1" type="application/x-www-form-urlencoded" cookie="last=308" auth="Bearer x"`, 2},
		"a relative location":        {"POST", "/303/a/b?../c", nil, 200, `GET http://testserver/303/c`, 1},
		"a query alone":              {"POST", "/303/a??", nil, 303, "", 1},
		"the port of the scheme":     {"POST", "/303?http://testserver:80/x", nil, 200, `GET http://testserver/x "" type="" cookie="last=303" auth="Bearer x"`, 1},
		"a whole URL":                {"POST", "/303?http://testserver/x", nil, 200, `GET http://testserver/x "" type="" cookie="last=303" auth="Bearer x"`, 1},
		"to https":                   {"POST", "/303?https://testserver/x", nil, 200, `GET https://testserver/x "" type="" cookie="last=303" auth="Bearer x"`, 1},
		"to another host":            {"POST", "/303?http://other/x", nil, 303, "", 0},
		"to one that may be":         {"POST", "/307?http://other:81/x", []string{"other:81"}, 200, `POST http://other:81/x "a=1" type="application/x-www-form-urlencoded" cookie="" auth=""`, 1},
		"there and back":             {"POST", "/307?http://other/307?http://testserver/x", []string{"other"}, 200, `POST http://testserver/x "a=1" type="application/x-www-form-urlencoded" cookie="last=307" auth=""`, 2},
		"by two slashes":             {"POST", "/303?//other/x", nil, 303, "", 0},
		"no location":                {"POST", "/303", nil, 303, "", 0},
		"to another scheme":          {"POST", "/303?mailto:a@b", nil, 303, "", 0},
		"a status that is no demand": {"POST", "/304?/x", nil, 304, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a relative location" {
				tt.status, tt.want = 303, "" // /303/c has no location
			}
			c := client(redirecting)
			res := c.Do(tt.method, tt.target, append(form, pagitest.FollowRedirects(tt.hosts...))...)
			if res.Err != nil || res.Status != tt.status || res.Text() != tt.want || len(res.History) != tt.history {
				t.Errorf("%d %s, history %d, %v\nwant %d %s", res.Status, res.Text(), len(res.History), res.Err, tt.status, tt.want)
			}
			if res := c.Do(tt.method, tt.target, form...); len(res.History) != 0 || res.Status == 200 {
				t.Errorf("followed without being told to: %+v", res)
			}
		})
	}
}

func TestRedirectsBelowARootPath(t *testing.T) {
	c := client(redirecting)
	c.RootPath = "/my app"
	for target, want := range map[string]int{"/303?/my%20app/x": 1, "/303?x": 1, "/303?/elsewhere": 0, "/303?/my%20apple": 0} {
		if res := c.Get(target, pagitest.FollowRedirects()); res.Err != nil || len(res.History) != want || want == 1 && !strings.HasPrefix(res.Text(), "GET http://testserver/my%20app/x ") {
			t.Errorf("%s: history %d, %q, %v", target, len(res.History), res.Text(), res.Err)
		}
	}
}

func TestEndlessAndMalformedRedirects(t *testing.T) {
	n := 0
	c := client(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		n++
		return sending(pagi.HTTPResponseStart{Status: 302, Headers: pagi.NewHeaders("location", "/again")}, body(""))(ctx, s, r, send)
	})
	res := c.Get("/", pagitest.FollowRedirects(), pagitest.Query("a", "1"))
	if res.Err == nil || !strings.Contains(res.Err.Error(), `10 redirects were followed, and the next is to "/again"`) || n != 11 || len(res.History) != 10 {
		t.Errorf("%d requests, history %d, %v", n, len(res.History), res.Err)
	}
	if res := client(redirecting).Get("/303?/%zz", pagitest.FollowRedirects()); res.Err == nil || !strings.Contains(res.Err.Error(), "malformed URL") {
		t.Error(res.Err)
	}
}

// What identifies the client goes to no other host, nor from https to http.
func TestCredentialsStayOnTheirHost(t *testing.T) {
	var got pagi.Headers
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		start := pagi.HTTPResponseStart{Status: 200}
		switch scope.Path {
		case "/away":
			start = pagi.HTTPResponseStart{Status: 302, Headers: pagi.NewHeaders("location", "http://other.example/end")}
		case "/plain":
			start = pagi.HTTPResponseStart{Status: 302, Headers: pagi.NewHeaders("location", "http://testserver/end")}
		case "/end":
			got = scope.Headers
		}
		if err := send(ctx, start); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{})
	})
	for path, host := range map[string]string{"/away": "other.example", "/plain": "testserver"} {
		client := pagitest.New(app)
		client.Scheme = "https"
		client.Headers = pagi.NewHeaders("authorization", "Bearer x", "cookie", "a=1", "x-kept", "1")
		res := client.Get(path, pagitest.FollowRedirects("other.example"), pagitest.Header("cookie", "b=2"))
		if res.Err != nil || got.Get("host") != host || got.Has("authorization") || got.Has("cookie") || got.Get("x-kept") != "1" {
			t.Errorf("%s: %v, %v", path, got, res.Err)
		}
	}
}
