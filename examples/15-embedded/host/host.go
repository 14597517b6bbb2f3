// Package host is a program that runs a server beside its own work. Both end with one context.
package host

import (
	"context"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/server"
)

// Program is the program. The zero values of Server are those of server.Server: it listens at 127.0.0.1:5000.
type Program struct {
	// Interval is how often the program does its own work.
	Interval time.Duration
	// Server is the server in the program. Run sets its App.
	Server server.Server

	rounds atomic.Int64
}

// Run runs the program until ctx ends, or the server fails.
func (p *Program) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer stop() // the work ends when the server does
	work.Go(func() { p.work(ctx) })
	p.Server.App = endpoint.Func(p.tell)
	return p.Server.Run(ctx)
}

// work is what the program is for.
func (p *Program) work(ctx context.Context) {
	ticker := time.NewTicker(p.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			log.Printf("round %d of the program", p.rounds.Add(1))
		case <-ctx.Done():
			return
		}
	}
}

func (p *Program) tell(*endpoint.Context) (*response.Response, error) {
	return response.Text(fmt.Sprintf("This server is part of a program, which has done %d rounds.\n", p.rounds.Load())), nil
}
