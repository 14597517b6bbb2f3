package psgi

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// BenchmarkHello has two Perl workers answer a small request for eight clients: as processes of this one, and over leases.
func BenchmarkHello(b *testing.B) {
	for name, crew := range map[string]func(worker.Options, worker.Host) worker.Crew{"process": nil, "lease": leased.New} {
		b.Run(name, func(b *testing.B) {
			o := PSGI{Code: `my $r = [200, ['Content-Type' => 'text/plain'], ['hello']]; sub { $r }`, Crew: crew}
			o.Workers = 2
			built, err := o.Build()
			if err != nil {
				b.Fatal(err)
			}
			p := pool.New(built.(*app).opt.pool())
			if err := p.Start(context.Background()); err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := p.Stop(context.Background()); err != nil {
					b.Error(err)
				}
			}()
			var names wire.NameTable
			b.ReportAllocs()
			b.SetParallelism(8 / runtime.GOMAXPROCS(0))
			var failed sync.Once
			b.RunParallel(func(pb *testing.PB) {
				builder := &wire.RequestBuilder{}
				builder.Begin(&names)
				for _, pair := range [][2]string{{"REQUEST_METHOD", "GET"}, {"PATH_INFO", "/"}, {"SERVER_PROTOCOL", "HTTP/1.1"}, {"QUERY_STRING", ""}, {"psgi.url_scheme", "http"}} {
					builder.Pair(pair[0], pair[1])
				}
				builder.Body(nil)
				req := &pool.Request{Frame: builder.Frame, Names: builder.Names(), Safe: true, Label: "GET /"}
				for pb.Next() {
					if err := readOne(p, req); err != nil {
						failed.Do(func() { b.Error(err) })
						return
					}
				}
			})
		})
	}
}

func readOne(p *pool.Pool, req *pool.Request) error {
	answer, err := p.Do(req)
	if err != nil {
		return err
	}
	defer answer.Close()
	for {
		piece, err := answer.Next(context.Background())
		if err != nil || piece.Last {
			return err
		}
	}
}
