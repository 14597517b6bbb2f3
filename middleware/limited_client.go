package middleware

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// maxAnswer is the largest answer of a server that a middleware asks, in bytes.
	maxAnswer = 1 << 20
	// askFor is how long such a server has for its answer.
	askFor = 10 * time.Second
)

// limitedClient returns a client for the servers that vouch for users. Its answers have at most
// maxAnswer bytes, and it opens few connections.
func limitedClient() *http.Client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: askFor,
		MaxConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	return &http.Client{Transport: limitedTransport{transport}, Timeout: askFor}
}

// limitedTransport limits the bodies of answers.
type limitedTransport struct{ *http.Transport }

func (t limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &limitedBody{ReadCloser: res.Body, left: maxAnswer}
	return res, nil
}

// limitedBody fails when more is read than is left.
type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return n, err
}

// shownURL returns a URL for logs and errors, without the user and the password in it. It need not be
// a URL that can be read.
func shownURL(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 {
		return text
	}
	return scheme + "://xxxxx" + rest[at:]
}
