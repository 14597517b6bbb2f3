package pool

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// BenchmarkDo sends one small request after another to one worker. All allocations it counts are
// the pool's.
func BenchmarkDo(b *testing.B) {
	p := New(Options{Crew: leased.Maker(), Processes: worker.Processes{Workers: 1}, Start: fakeStart("serve")})
	if err := p.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := p.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	}()
	req := newRequest("pid", true)
	b.ReportAllocs()
	for b.Loop() {
		answer, err := p.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		for last := false; !last; {
			piece, err := answer.Next(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			last = piece.Last
		}
		answer.Close()
	}
}
