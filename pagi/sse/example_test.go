package sse_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

// A countdown that ends by itself, or when the client leaves.
func ExampleStream_Every() {
	countdown := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		stream := sse.New(ctx, scope, receive, send)
		n := 3
		err := stream.Every(time.Millisecond, func() error {
			if n == 0 {
				return sse.Stop
			}
			n--
			return stream.Send(sse.Event{Name: "left", Data: fmt.Sprint(n)})
		})
		if err != nil {
			return err
		}
		return stream.Close("done")
	}
	fmt.Print(pagitest.New(pagi.AppFunc(countdown)).Events("/").Finish().Text())
	// Output:
	// event: left
	// data: 2
	//
	// event: left
	// data: 1
	//
	// event: left
	// data: 0
}

// A subscriber gets what others publish, until it leaves.
func ExampleEach() {
	news := make(chan string, 2)
	news <- "first"
	news <- "second"
	close(news)
	feed := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		stream := sse.New(ctx, scope, receive, send)
		stream.OnClose(func(string) { fmt.Println("unsubscribed") })
		if err := sse.Each(stream, news, stream.SendData); err != nil {
			return err
		}
		return stream.Close("no more news")
	}
	fmt.Print(pagitest.New(pagi.AppFunc(feed)).Events("/").Finish().Text())
	// Output:
	// unsubscribed
	// data: first
	//
	// data: second
}

func ExampleStream_SendJSON() {
	app := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		stream := sse.New(ctx, scope, receive, send)
		if err := stream.SendJSON("price", map[string]float64{"gold": 1.5}); err != nil {
			return err
		}
		return stream.Close("")
	}
	fmt.Print(pagitest.New(pagi.AppFunc(app)).Events("/").Finish().Text())
	// Output:
	// event: price
	// data: {"gold":1.5}
}

// A client that reconnects gets what it has missed.
func ExampleStream_LastEventID() {
	history := []string{"one", "two", "three"}
	app := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		stream := sse.New(ctx, scope, receive, send)
		seen, _ := strconv.Atoi(stream.LastEventID())
		for i, text := range history {
			if i+1 <= seen {
				continue
			}
			if err := stream.Send(sse.Event{ID: strconv.Itoa(i + 1), Data: text}); err != nil {
				return err
			}
		}
		return stream.Close("")
	}
	fmt.Print(pagitest.New(pagi.AppFunc(app)).Events("/", pagitest.Header("last-event-id", "2")).Finish().Text())
	// Output:
	// id: 3
	// data: three
}

func ExampleStream_Decline() {
	app := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return sse.New(ctx, scope, receive, send).Decline(response.Text("log in first").Status(401))
	}
	res := pagitest.New(pagi.AppFunc(app)).Events("/").Finish()
	fmt.Println(res.Status, res.Text())
	// Output: 401 log in first
}
