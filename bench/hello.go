package main

import (
	"fmt"
	"os/exec"
)

const helloApp = `sub { [200, ['Content-Type' => 'text/plain', 'Content-Length' => 11], ['Hello World']] }
`

// hello measures a small answer.
func (b *bench) hello() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	bouts, err := b.those([]bout{
		{contestant: ours, app: app, workers: b.workers, connections: b.conns},
		{contestant: nginxUWSGI, app: app, workers: b.workers, connections: b.conns},
		{contestant: nginxStarman, app: app, workers: b.workers, connections: b.conns},
		// A keep-alive connection holds a worker of these servers, so they get as many connections
		// as they can serve. Apache also runs with as many processes as connections.
		{contestant: starman, app: app, workers: b.workers, connections: b.workers},
		{contestant: modPerl, app: app, workers: b.workers, connections: b.workers},
		{contestant: modPerl, app: app, workers: b.conns, connections: b.conns},
		{contestant: feersum, app: app, workers: b.workers, connections: b.conns},
		{contestant: bareGo, connections: b.conns},
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds of %d s, wrk -t1; medians\n\n", b.rounds, b.seconds)
	results, err := rounds(b, bouts, b.throughput)
	if err != nil {
		return err
	}
	b.table(bouts, results)
	return nil
}

// throughput measures a bout with wrk, after a second of warming up.
func (b *bench) throughput(x *bout, url string, _ []*exec.Cmd) (load, error) {
	if _, err := b.wrk(url, x.connections, 1); err != nil {
		return load{}, err
	}
	return b.wrk(url, x.connections, b.seconds)
}
