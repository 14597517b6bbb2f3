package pagitest_test

import (
	"context"
	"fmt"
	"io"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// echo answers with the request's body.
var echo = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	body, err := io.ReadAll(request.BodyReader(ctx, receive))
	if err != nil {
		return err
	}
	headers := pagi.NewHeaders("content-type", scope.Headers.Get("content-type"))
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: headers}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: body})
})

func Example() {
	client := pagitest.New(echo)

	res := client.Post("/greet", pagitest.Form("name", "Ann", "city", "Köln"))
	fmt.Println(res.Status, res.Header("Content-Type"), res.Err)
	fmt.Println(res.Text())

	var got map[string]int
	if err := client.Post("/", pagitest.JSON(map[string]int{"n": 1})).JSON(&got); err != nil {
		fmt.Println(err)
	}
	fmt.Println(got["n"])
	// Output:
	// 200 application/x-www-form-urlencoded <nil>
	// name=Ann&city=K%C3%B6ln
	// 1
}

func ExampleClient_Begin() {
	client := pagitest.New(echo)
	exchange := client.Begin("POST", "/", pagitest.Stream())
	for _, piece := range []string{"one ", "two"} {
		if err := exchange.Write(piece); err != nil {
			fmt.Println(err)
		}
	}
	if err := exchange.CloseBody(); err != nil {
		fmt.Println(err)
	}
	for ev, ok := exchange.Next(); ok; ev, ok = exchange.Next() {
		fmt.Println(ev.EventType())
	}
	fmt.Println(exchange.Finish().Text())
	// Output:
	// http.response.start
	// http.response.body
	// one two
}

func ExampleClient_Events() {
	counter := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeSSE {
			return pagi.Unsupported(scope)
		}
		if err := send(ctx, pagi.SSEStart{}); err != nil {
			return err
		}
		for n := 1; ctx.Err() == nil; n++ {
			if err := send(ctx, pagi.SSESend{Event: "tick", ID: fmt.Sprint(n), Data: fmt.Sprintf("number %d", n)}); err != nil {
				return err
			}
		}
		return nil
	})

	stream := pagitest.New(counter).Events("/ticks")
	for range 2 {
		event, _ := stream.Next()
		fmt.Println(event.Event, event.ID, event.Data)
	}
	stream.Disconnect(pagi.ReasonClientClosed)
	fmt.Println(stream.Finish().Header("content-type"))
	// Output:
	// tick 1 number 1
	// tick 2 number 2
	// text/event-stream
}
