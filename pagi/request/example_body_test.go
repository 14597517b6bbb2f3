package request_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// ask sends a request to a handler, which prints what it has read.
func ask(handler func(r *request.Request) error, opts ...pagitest.Option) {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := handler(request.New(ctx, scope, receive)); err != nil {
			return err
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: 204}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{})
	})
	fmt.Println(pagitest.New(app).Post("/", opts...).Status)
}

func ExampleRequest_JSON() {
	handler := func(r *request.Request) error {
		var order struct {
			Item   string
			Amount int
		}
		if err := r.JSON(&order); err != nil {
			fmt.Println(err)
			return err // the server answers 400, 413 or 415
		}
		fmt.Println(order.Amount, order.Item)
		return nil
	}
	ask(handler, pagitest.JSON(map[string]any{"item": "tea", "amount": 2}))
	ask(handler, pagitest.JSON(map[string]any{"item": 7}))
	// Output:
	// 2 tea
	// 204
	// request body: line 1, column 9: Item cannot be a number
	// 400
}

func ExampleRequest_Form() {
	ask(func(r *request.Request) error {
		form, err := r.Form()
		if err != nil {
			return err
		}
		fmt.Println(form.Get("name"), form.All("topping"))
		return nil
	}, pagitest.Form("name", "Ann", "topping", "olives", "topping", "cheese"))
	// Output:
	// Ann [olives cheese]
	// 204
}

func ExampleRequest_DecodeForm() {
	ask(func(r *request.Request) error {
		var contact struct {
			Name  string `form:"name,required"`
			Email string `form:"email,required"`
		}
		err := r.DecodeForm(&contact)
		fmt.Println(err)
		return err
	}, pagitest.Form("name", "Ann"))
	// Output:
	// email: is missing
	// 422
}

// The name of the new file is the application's own, not the client's.
func ExampleRequest_Multipart() {
	dir, err := os.MkdirTemp("", "uploads")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ask(func(r *request.Request) error {
		defer r.Close()
		form, err := r.Multipart()
		if err != nil {
			return err
		}
		photo := form.File("photo")
		if photo == nil {
			return &pagi.StatusError{Status: 400, Message: "a photo is missing"}
		}
		fmt.Println(form.Values.Get("title"), photo.Filename, photo.Size)
		return photo.Save(filepath.Join(dir, "photo-7"))
	}, pagitest.Multipart(
		pagitest.Part{Name: "title", Content: "Sunset"},
		pagitest.Part{Name: "photo", Filename: `C:\photos\sun.jpg`, Content: "12345"},
	))
	// Output:
	// Sunset sun.jpg 5
	// 204
}

func ExampleRequest_MultipartStream() {
	ask(func(r *request.Request) error {
		parts, err := r.MultipartStream()
		if err != nil {
			return err
		}
		for {
			part, err := parts.Next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if !part.IsFile() {
				continue
			}
			n, err := io.Copy(io.Discard, part)
			if err != nil {
				return err
			}
			fmt.Println(part.Name, part.Filename, n)
		}
	}, pagitest.Multipart(pagitest.Part{Name: "log", Filename: "a.log", Content: strings.Repeat("x", 100_000)}))
	// Output:
	// log a.log 100000
	// 204
}

func ExampleRequest_BodyStream() {
	dir, err := os.MkdirTemp("", "bodies")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ask(func(r *request.Request) error {
		body, err := r.BodyStream()
		if err != nil {
			return err
		}
		n, err := body.Save(filepath.Join(dir, "body"))
		fmt.Println(n, err)
		return err
	}, pagitest.Chunks("hello, ", "world"))
	// Output:
	// 12 <nil>
	// 204
}

// A middleware looks at a form, and the application behind it reads the body as if nobody had.
func ExampleRequest_Receive() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		body, err := io.ReadAll(request.BodyReader(ctx, receive))
		fmt.Println("the application has", string(body))
		return err
	})
	handler := func(r *request.Request) error {
		form, err := r.Form()
		if err != nil {
			return err
		}
		fmt.Println("the middleware has", form.Get("token"))
		return app.Serve(context.Background(), r.Scope(), r.Receive(), nil)
	}
	ask(handler, pagitest.Form("token", "abc"))
	// Output:
	// the middleware has abc
	// the application has token=abc
	// 204
}

func ExampleRequest_Text() {
	ask(func(r *request.Request) error {
		text, err := r.Text()
		fmt.Println(text)
		return err
	}, pagitest.Body("gr\xfc\xdfe"), pagitest.Header("content-type", "text/plain; charset=iso-8859-1"))
	// Output:
	// grüße
	// 204
}

func ExampleRequest_JSONStrict() {
	ask(func(r *request.Request) error {
		var order struct{ Item string }
		err := r.JSONStrict(&order)
		fmt.Println(err)
		return err
	}, pagitest.JSON(map[string]any{"item": "tea", "amuont": 2}))
	// Output:
	// request body: amuont is not known
	// 400
}

// Text comes whole characters at a time, wherever the network has cut it.
func ExampleBodyStream_NextText() {
	ask(func(r *request.Request) error {
		body, err := r.BodyStream()
		if err != nil {
			return err
		}
		for {
			text, err := body.NextText()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			fmt.Printf("%q\n", text)
		}
	}, pagitest.Chunks("caf\xc3", "\xa9!"))
	// Output:
	// "caf"
	// "é!"
	// 204
}
