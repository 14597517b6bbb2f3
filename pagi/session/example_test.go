package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// answer is an App that answers with the text of f.
func answer(f func(path string, s *session.Session) (string, error)) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		s, ok := session.FromScope(scope)
		if scope.Type != pagi.TypeHTTP || !ok {
			return pagi.Unsupported(scope)
		}
		text, err := f(scope.Path, s)
		if err != nil {
			return err
		}
		return errors.Join(
			send(ctx, pagi.HTTPResponseStart{Status: 200}),
			send(ctx, pagi.HTTPResponseBody{Body: []byte(text)}))
	})
}

func ExampleManager() {
	app := session.Manager{}.Wrap(answer(func(path string, s *session.Session) (string, error) {
		switch path {
		case "/login":
			// A new id, so that somebody who knew the old one cannot use the user's session.
			return "welcome", errors.Join(s.Regenerate(), s.Set("user", "ann"))
		case "/logout":
			return "bye", s.Destroy()
		}
		return fmt.Sprintf("hello %v", s.GetOr("user", "stranger")), nil
	}))

	client := pagitest.New(app)
	for _, path := range []string{"/", "/login", "/", "/logout", "/"} {
		fmt.Println(client.Get(path).Text())
	}
	// Output:
	// hello stranger
	// welcome
	// hello ann
	// bye
	// hello stranger
}

func ExampleValueOr() {
	type cart struct{ Items []string }
	app := session.Manager{}.Wrap(answer(func(path string, s *session.Session) (string, error) {
		c, err := session.ValueOr(s, "cart", cart{})
		if err != nil {
			return "", err
		}
		c.Items = append(c.Items, strings.TrimPrefix(path, "/"))
		return strings.Join(c.Items, ", "), s.Set("cart", c)
	}))

	client := pagitest.New(app)
	client.Get("/tea")
	fmt.Println(client.Get("/cups").Text())
	// Output: tea, cups
}

func ExampleTakeFlashOr() {
	app := session.Manager{}.Wrap(answer(func(path string, s *session.Session) (string, error) {
		if path == "/save" {
			return "", s.Flash("note", "Your changes are saved.")
		}
		return session.TakeFlashOr(s, "note", "no note")
	}))

	client := pagitest.New(app)
	client.Get("/save")
	fmt.Println(client.Get("/").Text())
	fmt.Println(client.Get("/").Text())
	// Output:
	// Your changes are saved.
	// no note
}

func ExampleSession_Slice() {
	app := session.Manager{}.Wrap(answer(func(_ string, s *session.Session) (string, error) {
		err := errors.Join(s.Set("name", "ann"), s.Set("age", 30), s.Set("town", "Ulm"))
		return fmt.Sprint(s.Slice("name", "age", "street"), s.Keys(), s.Has("town")), err
	}))
	fmt.Println(pagitest.New(app).Get("/").Text())
	// Output: map[age:30 name:ann] [age name town] true
}

func ExampleCookieStore() {
	secret := []byte("use 32 random bytes, from a file.") // crypto/rand makes good ones
	m := session.Manager{
		Store: &session.CookieStore{Keys: []session.Key{{ID: "2026", Secret: secret}}},
		State: session.CookieState{HostPrefix: true},
	}
	fmt.Println(m.Check())

	client := pagitest.New(m.Wrap(answer(func(_ string, s *session.Session) (string, error) {
		return "", s.Set("user", "ann")
	})))
	client.Scheme = "https"
	name, rest, _ := strings.Cut(client.Get("/").Header("set-cookie"), "=")
	_, attributes, _ := strings.Cut(rest, ";")
	fmt.Println(name, attributes)
	// Output:
	// <nil>
	// __Host-pagi_session  Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax
}

func ExampleHeaderState() {
	m := session.Manager{State: session.HeaderState{}, Idle: 10 * time.Minute}
	client := pagitest.New(m.Wrap(answer(func(_ string, s *session.Session) (string, error) {
		return fmt.Sprint(s.IsNew()), s.Set("a", 1)
	})))
	first := client.Get("/")
	again := client.Get("/", pagitest.Header("x-session-id", first.Header("x-session-id")))
	fmt.Println(first.Text(), again.Text())
	// Output: true false
}

func ExampleBearerState() {
	m := session.Manager{State: session.BearerState{}}
	client := pagitest.New(m.Wrap(answer(func(path string, s *session.Session) (string, error) {
		if path == "/token" {
			return s.ID(), s.Set("user", "ann")
		}
		return fmt.Sprint(s.GetOr("user", "nobody")), nil
	})))
	token := client.Get("/token").Text()
	fmt.Println(client.Get("/", pagitest.Header("authorization", "Bearer "+token)).Text())
	// Output: ann
}

func ExampleCallbackState() {
	m := session.Manager{State: session.CallbackState{
		ExtractFunc: func(scope *pagi.Scope) string { return scope.Headers.Get("x-device") },
		InjectFunc: func(_ *pagi.Scope, headers *pagi.Headers, token string, _ time.Duration) error {
			headers.Set("x-device", token)
			return nil
		},
	}}
	client := pagitest.New(m.Wrap(answer(func(_ string, s *session.Session) (string, error) { return "", s.Set("a", 1) })))
	fmt.Println(len(client.Get("/").Header("x-device")))
	// Output: 32
}

func ExampleValidID() {
	fmt.Println(session.ValidID("dWFnZXQgdGhlIGJlc3Qgb2YgYWxsIGlk"), session.ValidID("../../etc/passwd"))
	// Output: true false
}
