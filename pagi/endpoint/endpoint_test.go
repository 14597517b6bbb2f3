package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

func TestMain(m *testing.M) { socket.Main(m) }

func TestWhatAFuncReturns(t *testing.T) {
	for name, c := range map[string]struct {
		f      endpoint.Func
		status int
		text   string
		err    error
	}{
		"a response": {func(c *endpoint.Context) (*response.Response, error) {
			return response.Text(c.Query().Get("q")).Status(201), nil
		}, 201, "x", nil},
		"an error":              {func(*endpoint.Context) (*response.Response, error) { return nil, io.ErrUnexpectedEOF }, 500, "", io.ErrUnexpectedEOF},
		"a status":              {func(c *endpoint.Context) (*response.Response, error) { return nil, c.JSON(nil) }, 415, "", request.ErrWrongType},
		"both":                  {func(*endpoint.Context) (*response.Response, error) { return response.Text("x"), io.ErrUnexpectedEOF }, 500, "", io.ErrUnexpectedEOF},
		"nothing":               {func(*endpoint.Context) (*response.Response, error) { return nil, nil }, 500, "", endpoint.ErrNoResponse},
		"a broken response":     {func(*endpoint.Context) (*response.Response, error) { return response.New(1), nil }, 500, "", response.New(1).Err()},
		"nothing after Respond": {func(c *endpoint.Context) (*response.Response, error) { return nil, c.Respond(response.Text("sent")) }, 200, "sent", nil},
		"nothing after events": {func(c *endpoint.Context) (*response.Response, error) {
			return nil, errors.Join(c.Send(pagi.HTTPResponseStart{Status: 204}), c.Send(pagi.HTTPResponseBody{}))
		}, 204, "", nil},
		"two responses": {func(c *endpoint.Context) (*response.Response, error) {
			return response.Text("y"), c.Respond(response.Text("x"))
		}, 200, "x", response.ErrStarted},
	} {
		res := pagitest.New(c.f).Get("/?q=x")
		if res.Status != c.status || c.text != "" && res.Text() != c.text {
			t.Errorf("%s: %d %q", name, res.Status, res.Text())
		}
		if c.err == nil && res.Err != nil || c.err != nil && !errors.Is(res.Err, c.err) && fmt.Sprint(res.Err) != c.err.Error() {
			t.Errorf("%s: %v", name, res.Err)
		}
	}
}

func TestContext(t *testing.T) {
	inner := endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		form, err := c.Form()
		if err != nil {
			return nil, err
		}
		user, _ := request.Stashed[string](c.Request, "user")
		return response.Text(user + " has " + form.Get("item")), nil
	})
	app := endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		if c.Context() == nil {
			t.Error("no context")
		}
		if _, err := c.Form(); err != nil {
			return nil, err
		}
		s, err := c.Session()
		if err != nil {
			return nil, err
		}
		n, err := session.Value[int](s, "visits")
		if err != nil {
			n = 0
		}
		if err := s.Set("visits", n+1); err != nil {
			return nil, err
		}
		c.Stash().Set("user", fmt.Sprint("visitor ", n+1))
		return nil, c.Call(inner)
	})
	client := pagitest.Start(t, (&session.Manager{}).Wrap(app))
	for i := range 2 {
		res := client.Post("/", pagitest.Form("item", "tea"))
		if want := fmt.Sprintf("visitor %d has tea", i+1); res.Err != nil || res.Text() != want {
			t.Errorf("%q, want %q, %v", res.Text(), want, res.Err)
		}
	}
	if res := pagitest.New(app).Post("/", pagitest.Form()); !errors.Is(res.Err, endpoint.ErrNoSession) {
		t.Errorf("no session: %v", res.Err)
	}
}

// The files of uploads are removed when the response is sent, and not before.
func TestUploadsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var upload *request.Upload
	app := endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		form, err := c.Multipart()
		if err != nil {
			return nil, err
		}
		upload = form.File("f")
		from, err := upload.Open()
		if err != nil {
			return nil, err
		}
		return response.Reader("text/plain", from), nil
	})
	content := strings.Repeat("x", 100_000)
	res := pagitest.New(app).Post("/", pagitest.Multipart(pagitest.Part{Name: "f", Filename: "f", Content: content}))
	if res.Err != nil || res.Text() != content {
		t.Errorf("%d bytes, %v", len(res.Body), res.Err)
	}
	if _, err := upload.Open(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("open afterwards: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestScopesOfOtherTypesAreDeclined(t *testing.T) {
	apps := map[string]pagi.App{
		pagi.TypeHTTP:      endpoint.Func(func(*endpoint.Context) (*response.Response, error) { return response.Empty(), nil }),
		pagi.TypeWebSocket: endpoint.WebSocketFunc(func(*websocket.Conn) error { return nil }),
		pagi.TypeSSE:       endpoint.SSEFunc(func(*sse.Stream) error { return nil }),
	}
	for own, app := range apps {
		for _, scopeType := range []string{pagi.TypeHTTP, pagi.TypeWebSocket, pagi.TypeSSE, pagi.TypeLifespan} {
			err := app.Serve(t.Context(), &pagi.Scope{Type: scopeType}, nil, func(context.Context, pagi.Event) error { return nil })
			if errors.Is(err, pagi.ErrUnsupported) == (scopeType == own) {
				t.Errorf("%s in a %s scope: %v", own, scopeType, err)
			}
		}
	}
}

func TestFuncsOfStreams(t *testing.T) {
	ws := pagitest.New(endpoint.WebSocketFunc(func(conn *websocket.Conn) error {
		if err := conn.Accept(websocket.Accept{}); err != nil {
			return err
		}
		return conn.EachText(conn.SendText)
	})).WebSocket("/")
	if err := ws.SendText("hello"); err != nil {
		t.Fatal(err)
	}
	if text, err := ws.ReceiveText(); text != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	res := pagitest.New(endpoint.SSEFunc(func(s *sse.Stream) error { return s.SendData("tick") })).Events("/").Finish()
	if res.Err != nil || res.Text() != "data: tick\n\n" {
		t.Errorf("%q, %v", res.Text(), res.Err)
	}
}

func ExampleFunc() {
	type order struct {
		Item   string `json:"item"`
		Amount int    `json:"amount"`
	}
	app := endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		var o order
		if err := c.JSON(&o); err != nil {
			return nil, err // the client gets 400, 413 or 415, and the reason
		}
		if o.Amount > 10 {
			return response.Problem{Status: 409, Detail: "we have only ten"}.Response(), nil
		}
		return response.JSON(o).Status(201).Header("location", "/orders/7"), nil
	})
	client := pagitest.New(app)
	res := client.Post("/orders", pagitest.JSON(order{"tea", 2}))
	fmt.Println(res.Status, res.Header("location"), res.Text())
	res = client.Post("/orders", pagitest.JSON(order{"tea", 20}))
	fmt.Println(res.Status, res.Text())
	// Output:
	// 201 /orders/7 {"item":"tea","amount":2}
	// 409 {"detail":"we have only ten","status":409,"title":"Conflict"}
}

func ExampleContext_Session() {
	app := endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		s, err := c.Session()
		if err != nil {
			return nil, err
		}
		visits, err := session.Value[int](s, "visits")
		if err != nil && s.Has("visits") {
			return nil, err
		}
		if err := s.Set("visits", visits+1); err != nil {
			return nil, err
		}
		return response.Text(fmt.Sprint("visit ", visits+1)), nil
	})
	client := pagitest.New((&session.Manager{}).Wrap(app))
	fmt.Println(client.Get("/").Text())
	fmt.Println(client.Get("/").Text())
	// Output:
	// visit 1
	// visit 2
}

// The old application answers what the new one does not know yet.
func ExampleContext_Call() {
	old := endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		return response.Text("the old page " + c.Path()), nil
	})
	site := endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
		if c.Path() == "/new" {
			return response.Text("the new page"), nil
		}
		return nil, c.Call(old)
	})
	client := pagitest.New(site)
	fmt.Println(client.Get("/new").Text())
	fmt.Println(client.Get("/contact").Text())
	// Output:
	// the new page
	// the old page /contact
}

func ExampleWebSocketFunc() {
	echo := endpoint.WebSocketFunc(func(conn *websocket.Conn) error {
		if err := conn.Accept(websocket.Accept{}); err != nil {
			return err
		}
		return conn.EachText(conn.SendText)
	})
	ws := pagitest.New(echo).WebSocket("/")
	_ = ws.SendText("hello")
	fmt.Println(ws.ReceiveText())
	_ = ws.Finish()
	// Output: hello <nil>
}

func ExampleSSEFunc() {
	app := endpoint.SSEFunc(func(stream *sse.Stream) error { return stream.SendData("tick") })
	fmt.Print(pagitest.New(app).Events("/").Finish().Text())
	// Output: data: tick
}
