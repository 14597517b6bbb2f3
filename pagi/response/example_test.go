package response_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// show prints what a browser gets.
func show(r *response.Response) {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return r.Send(ctx, scope, send)
	})
	res := pagitest.New(app).Get("/")
	fmt.Println(res.Status, res.Header("content-type"), res.Text())
}

func ExampleText() {
	show(response.Text("not here").Status(404))
	// Output: 404 text/plain; charset=utf-8 not here
}

func ExampleJSON() {
	show(response.JSON(map[string]string{"name": "Ann"}).Status(201).Header("location", "/users/7"))
	// Output: 201 application/json {"name":"Ann"}
}

func ExampleProblem() {
	show(response.Problem{Status: 409, Detail: "no tea left"}.Response())
	// Output: 409 application/problem+json {"detail":"no tea left","status":409,"title":"Conflict"}
}

func ExampleStream() {
	show(response.Stream("text/csv", func(w *response.Writer) error {
		for i := range 3 {
			if _, err := fmt.Fprintf(w, "%d;", i); err != nil {
				return err
			}
		}
		return nil
	}))
	// Output: 200 text/csv 0;1;2;
}

func ExampleJSONList() {
	squares := func(yield func(int) bool) {
		for i := range 3 {
			if !yield(i * i) {
				return
			}
		}
	}
	show(response.JSONList(squares))
	// Output:
	// 200 application/json [0
	// ,1
	// ,4
	// ]
}

func ExampleLocalRedirect() {
	for _, next := range []string{"/orders?page=2", "//evil.example"} {
		fmt.Println(response.LocalRedirect(next, "/").Headers().Get("location"))
	}
	// Output:
	// /orders?page=2
	// /
}

func ExampleResponse_Cookie() {
	r := response.Text("welcome").Cookie(&http.Cookie{Name: "__Host-id", Value: "7", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	fmt.Println(r.Headers().Get("set-cookie"))
	r = response.Text("welcome").Cookie(&http.Cookie{Name: "__Host-id", Value: "7"})
	fmt.Println(r.Err())
	// Output:
	// __Host-id=7; Path=/; HttpOnly; Secure; SameSite=Lax
	// response: cookie "__Host-id": a name with __Host- needs Secure, the path / and no domain
}

func ExampleResponse_Attachment() {
	r := response.Bytes("application/pdf", nil).Attachment("Übersicht.pdf")
	fmt.Println(r.Headers().Get("content-disposition"))
	// Output: attachment; filename="_bersicht.pdf"; filename*=UTF-8''%C3%9Cbersicht.pdf
}

func ExampleTasks() {
	tasks := &response.Tasks{}
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		r := response.Text("ordered").Background(func(context.Context) error {
			fmt.Println("mail sent")
			return nil
		})
		return r.Send(ctx, scope, send)
	})
	_ = pagitest.Run(context.Background(), tasks.Wrap(app), func(c *pagitest.Client) error {
		return c.Get("/").Err
	}) // waits for the mail
	// Output: mail sent
}

func ExampleFile() {
	dir, err := os.MkdirTemp("", "files")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hello.txt")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	show(response.File(path).Inline("greeting.txt"))
	// Output: 200 text/plain; charset=utf-8 hello
}

func ExampleReader() {
	show(response.Reader("text/plain", strings.NewReader("from elsewhere")))
	// Output: 200 text/plain from elsewhere
}

func ExampleFromError() {
	show(response.FromError(&pagi.StatusError{Status: 404, Message: "no such user"}))
	show(response.FromError(errors.New("the password of the database is wrong")))
	// Output:
	// 404 application/problem+json {"detail":"no such user","status":404,"title":"Not Found"}
	// 500 application/problem+json {"status":500,"title":"Internal Server Error"}
}

func ExampleRedirect() {
	r := response.Redirect("/orders/7").Status(303)
	fmt.Println(r.StatusCode(), r.Headers().Get("location"))
	// Output: 303 /orders/7
}

func ExampleResponse_CORS() {
	r := response.JSON(1).CORS(response.CORS{Origin: "https://app.example", Credentials: true})
	fmt.Println(r.Headers().Get("access-control-allow-origin"), r.Headers().Get("vary"))
	// Output: https://app.example origin
}
