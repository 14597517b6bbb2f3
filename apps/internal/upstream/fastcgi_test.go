package upstream_test

import (
	"bufio"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps/internal/fastcgi"
	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// readFastCGI reads a request to the end of its body.
func readFastCGI(in *bufio.Reader) error {
	for {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		length := int(head[4])<<8 | int(head[5])
		if _, err := in.Discard(length + int(head[6])); err != nil {
			return err
		}
		if head[1] == 5 && length == 0 {
			return nil
		}
	}
}

// A request is not sent again if the application has written anything in answer to it.
func TestAFastCGIRequestThatHasRunIsNotSentAgain(t *testing.T) {
	const stderr = "\x01\x07\x00\x01\x00\x05\x00\x00crash"
	const served = "\x01\x06\x00\x01\x00\x0f\x00\x00Status: 200\r\n\r\n" + "\x01\x03\x00\x01\x00\x08\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var requests atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for readFastCGI(in) == nil {
					if requests.Add(1) > 1 {
						_, _ = io.WriteString(conn, stderr) // the client notices what has not come
						return
					}
					_, _ = io.WriteString(conn, served) // as above
				}
			}()
		}
	}()
	all := backends(t, "fastcgi://"+l.Addr().String())
	transport := upstream.NewTransport(upstream.TransportOptions{ConnectTimeout: testkit.Patience, MaxIdleConns: 10}, all)
	defer transport.CloseIdle()
	ask := func() error {
		res, err := transport.Direct(all[0]).Ask(t.Context(), &upstream.Request{Method: "GET", Params: fastcgi.AppendPair(nil, "A", "b")})
		if err != nil {
			return err
		}
		defer res.Close()
		_, err = io.ReadAll(res)
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err == nil || requests.Load() != 2 {
		t.Errorf("%v, %d requests", err, requests.Load())
	}
}
