// Package pagitest drives a pagi.App in a test: in memory, or over a socket. It makes the scope,
// sends the client's events and collects the events that the application sends.
//
//	client := pagitest.New(app)
//	client.Get("/hello?name=ann").Expect(t, 200, "Hello, ann")
//
// # Requests
//
// A Client has a method for each verb, and Do. Options say what the request has: Header, Query,
// Body, JSON, Form, Multipart, Chunks, Trailer, and Edit for anything else in the scope. The
// Response has the status, the headers and the body, and in Err what went wrong: an error or panic
// of the application, or an event that the specification forbids.
//
//	res := client.Post("/people", pagitest.JSON(person), pagitest.Header("x-token", "secret"))
//	err := res.JSON(&answer)
//
// The client keeps cookies as a browser does. With the option FollowRedirects it follows redirects,
// too.
//
// # Lifespan
//
// Start runs the application's lifespan startup, and its shutdown at the end of the test. Without
// it the application is called for requests only.
//
//	client := pagitest.Start(t, app)
//	client.State() // what the application has stored at its startup
//
// # Step by step
//
// Begin returns while the application handles the request. The test then writes the request body by
// Exchange.Write, and reads each event when the application has sent it by Exchange.Next. Events
// does so for an event stream, WebSocket for a WebSocket. Each has a method Finish that must be
// called.
//
//	ws := client.WebSocket("/chat", pagitest.Subprotocols("v1"))
//	err := ws.SendText("hello")
//	text, err := ws.ReceiveText()
//	err = ws.Finish()
//
// # What networks do
//
// Disconnect makes the client leave at once, DisconnectAfter and DisconnectAfterBytes at an event.
// SlowReader puts a buffer with a high and a low mark between the application and the test:
// Scope.Transport tells the application about it, and Send waits while it is full.
//
// # Golden files
//
// Golden compares a response, a list of events or a text with a file in testdata, and writes that
// file if the environment has PAGITEST_UPDATE=1.
//
//	pagitest.Golden{Volatile: []string{"date", "x-request-id"}}.Response(t, "home", client.Get("/"))
//
// # Over a socket
//
// Client.Via takes the requests to a real server. Package pagi/pagitest/socket has one, and a line
// for TestMain by which all tests of a package run both ways:
//
//	func TestMain(m *testing.M) { socket.Main(m) }
//
//	go test ./mine && PAGITEST=socket go test ./mine
//
// The tests stay as they are. A few things are different over a socket:
//
//   - Status, Headers, Body, Trailers and Informational of a Response are what the client has read.
//     Headers that the server has added to frame the response (date, connection, content-length)
//     are left out. Events are those that the server has taken from the application, and Chunks the
//     body cut as the application has sent it.
//   - An answer that the server makes itself, for a failed application for example, is the
//     server's.
//   - Exchange.Next returns HTTPResponseStart and an HTTPResponseBody for each piece that has come.
//     A head leaves the server with the first piece of the body.
//   - The server makes the pieces of the request body, and drops the empty ones.
//   - Host, Scheme, RootPath, HTTPVersion, Extensions and Edit change the scope on the server's
//     side. Connection of a Response is nil for an event stream.
//   - A client that leaves, also by its Timeout, is client_closed or another reason that the server
//     finds.
//   - A test that needs what a connection does not have calls InMemory. An exchange with SlowReader
//     is always in memory.
//
// # Strictness
//
// Both ways are as strict as the specification. Send fails for an event that pagi.Validate refuses
// or that is out of order. It also fails for a header name that is not in lower case, and for a
// body that contradicts its Content-Length. The failure is also in Response.Err, even if the
// application ignores it. As at a server, a request that accepts text/event-stream is an sse scope.
//
// Files: client.go the client and the scopes it makes, options.go what a request has, response.go
// and golden.go what comes back. exchange.go is a request, local*.go and slow.go in memory,
// remote.go over a Carrier (carrier.go) whose server's side is host.go. sequence.go has the rules,
// leave.go the clients that leave, redirect.go and cookies.go what browsers do. events.go and
// sse.go are event streams, websocket*.go and memory.go WebSockets.
package pagitest
