package apps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pagi-go/pagi-bridge/internal/spool"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// recorder lets several applications, one after another, receive the same events
// from the client.
type recorder struct {
	receive pagi.Receive
	body    *spool.Body  // what was received of the request body; nil: nothing
	after   pagi.Headers // the trailers behind it
	ended   bool         // the body was received to its end
	connect bool         // a websocket.connect was received
	sse     bool         // the body came in sse.request events
	files   []*os.File   // opened to replay the body
}

// again returns a Receive that begins with the first event. It gives the recorded events first,
// then those that the client still sends.
func (r *recorder) again() pagi.Receive {
	connect, replay := r.connect, r.body != nil
	var recorded io.Reader
	read := int64(0) // of what was recorded
	return func(ctx context.Context) (pagi.Event, error) {
		if connect {
			connect = false
			return pagi.WebSocketConnect{}, nil
		}
		for replay {
			if recorded == nil {
				var err error
				if recorded, err = r.recorded(); err != nil {
					return nil, err
				}
			}
			piece := make([]byte, 32<<10)
			n, err := io.ReadFull(recorded, piece)
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, fmt.Errorf("replay a request body: %w", err)
			}
			replay = err == nil
			if read += int64(n); !replay && read < r.body.Size() {
				return nil, fmt.Errorf("replay a request body: %w", io.ErrUnexpectedEOF)
			}
			if n > 0 || !replay && r.ended {
				return r.event(piece[:n], replay || !r.ended), nil
			}
		}
		return r.live(ctx)
	}
}

// recorded returns the body as it was received so far.
func (r *recorder) recorded() (io.Reader, error) {
	if !r.body.InFile() {
		return bytes.NewReader(r.body.Bytes()), nil
	}
	f, err := r.body.Open()
	if err != nil {
		return nil, fmt.Errorf("replay a request body: %w", err)
	}
	r.files = append(r.files, f)
	return io.LimitReader(f, r.body.Size()), nil
}

func (r *recorder) event(body []byte, more bool) pagi.Event {
	piece := pagi.HTTPRequest{Body: body, More: more}
	if !more {
		piece.Trailers = r.after
	}
	if r.sse {
		return pagi.SSERequest(piece)
	}
	return piece
}

// live receives from the client and records.
func (r *recorder) live(ctx context.Context) (pagi.Event, error) {
	ev, err := r.receive(ctx)
	if err != nil {
		return ev, err
	}
	switch e := ev.(type) {
	case pagi.HTTPRequest:
		err = r.record(e)
	case pagi.SSERequest:
		r.sse = true
		err = r.record(pagi.HTTPRequest(e))
	case pagi.WebSocketConnect:
		r.connect = true
	}
	return ev, err
}

func (r *recorder) record(piece pagi.HTTPRequest) error {
	if r.body == nil {
		r.body = &spool.Body{}
	}
	r.ended, r.after = !piece.More, piece.Trailers
	_, err := r.body.Write(piece.Body)
	return err
}

func (r *recorder) close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	if r.body != nil {
		errs = append(errs, r.body.Close())
	}
	return errors.Join(errs...)
}
