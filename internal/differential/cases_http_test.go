package differential_test

import "strings"

// hello answers, and plain is the same without a header.
const (
	plain  = "send http.response.start {\"status\":200}\nbody hello"
	scope  = "scope"
	echo   = "drain\necho"
	finish = "\nuntil http.disconnect"
)

// Requests: methods, targets, headers, versions, connections.
var httpCases = []test{
	{name: "GET"},
	{name: "GET with no header in the answer", script: plain},
	{name: "POST without a body", method: "POST", headers: "Content-Length: 0", script: echo},
	{name: "PUT", method: "PUT", body: "put", script: echo},
	{name: "PATCH", method: "PATCH", body: "patch", script: echo},
	{name: "DELETE", method: "DELETE", script: scope},
	{name: "DELETE with a body", method: "DELETE", body: "what", script: echo},
	{name: "OPTIONS", method: "OPTIONS", script: scope},
	{name: "OPTIONS of the server", method: "OPTIONS", target: "*", script: scope},
	{name: "TRACE", method: "TRACE", script: scope},
	{name: "PROPFIND, a method of an extension", method: "PROPFIND", script: scope},
	{name: "a method in lower case", method: "get", script: scope},
	{name: "HEAD", method: "HEAD", framing: true},
	{name: "HEAD with a Content-Length", method: "HEAD", framing: true, script: "send http.response.start {\"status\":200,\"headers\":[[\"content-length\",\"5\"]]}\nbody hello"},
	{name: "HEAD with a body of two pieces", method: "HEAD", framing: true, script: "start\nmore one\nbody two"},
	{name: "GET with a body", method: "GET", body: "read", script: echo},

	{name: "the root", target: "/", script: scope},
	{name: "a path", target: "/a/b", script: scope},
	{name: "a path that ends in a slash", target: "/a/b/", script: scope},
	{name: "two slashes", target: "//a//b", script: scope},
	{name: "dots in a path", target: "/a/../b/./c", script: scope},
	{name: "a path with a space", target: "/a%20b", script: scope},
	{name: "a path with a plus", target: "/a+b", script: scope},
	{name: "a path in UTF-8", target: "/%C3%A9", script: scope},
	{name: "a path in Latin-1", target: "/%E9", script: scope},
	{name: "a path with an encoded slash", target: "/a%2Fb", script: scope},
	{name: "a path with an encoded percent sign", target: "/100%25", script: scope},
	{name: "a path with an encoded question mark", target: "/a%3Fb?c", script: scope},
	{name: "a path with escapes in lower case", target: "/%c3%a9", script: scope},
	{name: "a path with a broken escape", target: "/a%zzb", script: scope},
	{name: "a path with half an escape", target: "/a%2", script: scope},
	{name: "a path with NUL", target: "/a%00b", script: scope},
	{name: "a path with a semicolon", target: "/a;b=c", script: scope},
	{name: "a path outside of the plane of sixteen bits", target: "/%F0%9F%98%80", script: scope},
	{name: "a whole URL as the target", target: "http://example.test/a?b", script: scope},
	{name: "a target with a fragment", target: "/a#b", script: scope},

	{name: "a query", target: "/?a=b&c=d", script: scope},
	{name: "an empty query", target: "/?", script: scope},
	{name: "a query with a plus and escapes", target: "/?a=b+c%20d", script: scope},
	{name: "a query with a broken escape", target: "/?a=%zz&b=%2", script: scope},
	{name: "a query with a question mark", target: "/?a?b", script: scope},
	{name: "a query in UTF-8", target: "/?a=%C3%A9", script: scope},
	{name: "a query of 2000 bytes", target: "/?" + strings.Repeat("x", 2000), script: scope},

	{name: "a header", headers: "X-One: 1", script: scope},
	{name: "an empty header", headers: "X-Empty:", script: scope},
	{name: "spaces around a value", headers: "X-Spaces:  \t a b \t ", script: scope},
	{name: "the same header twice", headers: "X-One: 1\nX-One: 2", script: scope},
	{name: "a header in capitals", headers: "X-UPPER: Yes", script: scope},
	{name: "a header in Latin-1", headers: "X-Latin: \xe9", script: scope},
	{name: "a header in UTF-8", headers: "X-Utf8: é", script: scope},
	{name: "a header with an underscore", headers: "X_Under: 1", script: scope},
	{name: "a cookie", headers: "Cookie: a=1; b=2", script: scope},
	{name: "two lines of cookies", headers: "Cookie: a=1\nCookie: b=2; c=3", script: scope},
	{name: "a header of 4000 bytes", headers: "X-Large: " + strings.Repeat("x", 4000), script: scope},
	{name: "a host with a port", headers: "Host: example.test:8080", script: scope},
	{name: "authorization", headers: "Authorization: Basic Zm9vOmJhcg==", script: scope},
	{name: "a content type", headers: "Content-Type: text/plain; charset=utf-8", body: "x", script: "drain\nscope"},

	{name: "no host", raw: "GET / HTTP/1.1\r\nCASE\r\n\r\n", framing: true},
	{name: "two hosts", raw: "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nCASE\r\n\r\n"},
	{name: "a space before the colon", raw: "GET / HTTP/1.1\r\nHost: a\r\nX-One : 1\r\nCASE\r\n\r\n"},
	{name: "a folded header", raw: "GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n  2\r\nCASE\r\n\r\n", script: scope},
	{name: "lines that end without CR", raw: "GET / HTTP/1.1\nHost: a\nCASE\n\n"},
	{name: "no version", raw: "GET /\r\nCASE\r\n\r\n"},
	{name: "a version that does not exist", version: "9.9"},
	{name: "no request at all", raw: "nonsense\r\n\r\n"},
	{name: "an empty line before the request", raw: "\r\nGET / HTTP/1.1\r\nHost: a\r\nCASE\r\n\r\n"},
	{name: "a target with a space", raw: "GET /a b HTTP/1.1\r\nHost: a\r\nCASE\r\n\r\n"},

	{name: "HTTP/1.0", version: "1.0", script: scope, framing: true},
	{name: "HTTP/1.0 with a length", version: "1.0", script: "send http.response.start {\"status\":200,\"headers\":[[\"content-length\",\"5\"]]}\nbody hello", framing: true},
	{name: "HTTP/1.0 that wants to stay", version: "1.0", headers: "Connection: keep-alive", repeat: 2, framing: true, script: "send http.response.start {\"status\":200,\"headers\":[[\"content-length\",\"5\"]]}\nbody hello"},
	{name: "HTTP/1.0 with pieces", version: "1.0", script: "start\nmore one\nbody two"},
	{name: "three requests on one connection", repeat: 3},
	{name: "two requests with bodies on one connection", repeat: 2, body: "again", script: echo},
	{name: "two requests with bodies that the application does not read", repeat: 2, body: "unread"},
	{name: "two requests with chunked bodies that the application does not read", repeat: 2, chunks: []string{"un", "read", ""}},
	{name: "three requests at once", repeat: 3, pipelined: true},
	{name: "a connection that the client wants closed", headers: "Connection: close", framing: true},
	{name: "a connection that the application wants closed", script: "send http.response.start {\"status\":200,\"headers\":[[\"connection\",\"close\"],[\"content-length\",\"5\"]]}\nbody hello", steps: []string{"hear hello"}, framing: true},

	{name: "state of the connection", script: "connection\nstart\nconnection\nmore a\nconnection\nbody b\nconnection"},
	{name: "callbacks of a complete request", script: "watch\nstart\nbody b" + finish + "\nconnection"},
	{name: "receive behind the body", body: "x", script: "drain\nstart\nbody b" + finish},
	{name: "receive twice behind the end", script: "receive\nstart\nbody b" + finish + finish},
	{name: "two receives at once", script: "start\nmore a\ntogether\nbody b", body: "x", steps: []string{"traced receive", "leave"}},
	{name: "the abilities of a request", script: "abilities"},
	{name: "an upgrade to an unknown protocol", headers: "Upgrade: foo\nConnection: Upgrade", script: scope},
	{name: "a wish for HTTP/2", headers: "Upgrade: h2c\nConnection: Upgrade, HTTP2-Settings\nHTTP2-Settings: AAMAAABkAAQAAP__", script: scope},
	{name: "te and trailer of a request", headers: "TE: trailers", script: scope},
}
