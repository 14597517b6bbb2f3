package server

import (
	"context"
	"errors"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// What a client cannot know, and what the server fails at, is no flood.
func TestHTTP2ResetsThatDoNotCount(t *testing.T) {
	const burst = 3
	app := httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if scope.Method == "POST" {
			return reply(ctx, send, "early")
		}
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{Body: []byte("x"), More: true}), errors.New("no more"))
	})
	for _, tt := range []struct {
		name, method string
		then         func(p *peer, stream uint32)
		want         string
	}{
		{"the rest of a body that nobody wanted", "POST", func(p *peer, stream uint32) {
			for range 2 * burst {
				p.must(p.WriteData(stream, false, []byte("x")))
			}
		}, "200 early"},
		{"an application that fails", "GET", func(*peer, uint32) {}, "200 INTERNAL_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
				_, p := launch(&Server{App: app, H2ResetBurst: burst, H2ResetRate: -1})
				for n := range uint32(3 * burst) {
					stream := 2*n + 1
					p.request(stream, tt.method, tt.method == "GET")
					if got := p.answer(stream); got != tt.want {
						t.Fatalf("stream %d: %s", stream, got)
					}
					tt.then(p, stream)
				}
			})
		})
	}
}
