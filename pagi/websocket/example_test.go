package websocket_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

func ExampleConn_EachText() {
	shout := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		conn := websocket.New(ctx, scope, receive, send)
		if err := conn.Accept(websocket.Accept{}); err != nil {
			return err
		}
		return conn.EachText(func(text string) error { return conn.SendText(strings.ToUpper(text)) })
	}
	ws := pagitest.New(pagi.AppFunc(shout)).WebSocket("/")
	_ = ws.SendText("hello")
	fmt.Println(ws.ReceiveText())
	fmt.Println(ws.Finish())
	// Output:
	// HELLO <nil>
	// <nil>
}

func ExampleEachJSON() {
	type order struct {
		Item   string
		Amount int
	}
	shop := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		conn := websocket.New(ctx, scope, receive, send)
		if err := conn.Accept(websocket.Accept{Subprotocols: []string{"shop.v1"}}); err != nil {
			return err
		}
		return websocket.EachJSON(conn, func(o order) error {
			return conn.SendJSON(map[string]string{"confirmed": fmt.Sprint(o.Amount, " ", o.Item)})
		})
	}
	ws := pagitest.New(pagi.AppFunc(shop)).WebSocket("/", pagitest.Subprotocols("shop.v1"))
	_ = ws.SendText(`{"item": "tea", "amount": 2}`)
	fmt.Println(ws.ReceiveText())
	_ = ws.Finish()
	// Output: {"confirmed":"2 tea"} <nil>
}

func ExampleConn_OnClose() {
	app := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		conn := websocket.New(ctx, scope, receive, send)
		conn.OnClose(func(end *websocket.CloseError) { fmt.Println("left with", end.Code) })
		if err := conn.Accept(websocket.Accept{}); err != nil {
			return err
		}
		return conn.Wait()
	}
	ws := pagitest.New(pagi.AppFunc(app)).WebSocket("/")
	_ = ws.Close(4000, "lunch")
	_ = ws.Finish()
	// Output: left with 4000
}

// A visitor without a name is sent away before the connection opens.
func ExampleConn_Deny() {
	app := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		conn := websocket.New(ctx, scope, receive, send)
		if conn.Request().Query().Get("name") == "" {
			return conn.Deny(response.Text("who are you?").Status(401))
		}
		return conn.Accept(websocket.Accept{})
	}
	client := pagitest.New(pagi.AppFunc(app))
	client.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}
	ws := client.WebSocket("/")
	fmt.Println(ws.Accepted, ws.Response.Status, ws.Response.Text())
	_ = ws.Finish()
	// Output: false 401 who are you?
}

// One slow listener must not hold up the others: it misses a message instead.
func ExampleConn_TrySendText() {
	broadcast := func(listeners []*websocket.Conn, text string) (missed int) {
		for _, conn := range listeners {
			if !conn.TrySendText(text) {
				missed++
			}
		}
		return missed
	}
	app := func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		conn := websocket.New(ctx, scope, receive, send)
		if err := conn.Accept(websocket.Accept{}); err != nil {
			return err
		}
		fmt.Println("missed:", broadcast([]*websocket.Conn{conn}, "news"))
		return conn.Close(websocket.CodeNormal, "bye")
	}
	ws := pagitest.New(pagi.AppFunc(app)).WebSocket("/")
	fmt.Println(ws.ReceiveText())
	_ = ws.Finish()
	// Output:
	// missed: 0
	// news <nil>
}
