package main

import (
	"fmt"
	"path/filepath"
)

// frameworks measures a page made of a template in two frameworks: against Starman
// with as many connections as it can serve, and without keep-alive with as many as
// there are.
func (b *bench) frameworks() error {
	fmt.Printf("%d rounds of %d s, wrk -t1; medians\n\n", b.rounds, b.seconds)
	for _, framework := range []struct{ name, file, module string }{
		{"Dancer2", "dancer2.psgi", "Dancer2"},
		{"Catalyst", "catalyst.psgi", "Catalyst::View::TT"},
	} {
		app, err := filepath.Abs(filepath.Join("bench/apps", framework.file))
		if err != nil {
			return err
		}
		if !b.isHere(contestant{name: ours.name, modules: []string{framework.module}}) {
			continue
		}
		bouts, err := b.those([]bout{
			{contestant: ours, app: app, workers: b.workers, connections: b.workers},
			{contestant: starman, app: app, workers: b.workers, connections: b.workers},
			{contestant: ours, app: app, workers: b.workers, connections: b.conns, rival: 2},
			{contestant: starmanClosing, app: app, workers: b.workers, connections: b.conns, rival: 2},
			{contestant: nginxUWSGI, app: app, workers: b.workers, connections: b.conns, rival: 2},
		})
		if err != nil {
			return err
		}
		results, err := rounds(b, bouts, b.throughput)
		if err != nil {
			return err
		}
		fmt.Printf("%s:\n\n", framework.name)
		table(bouts, results)
		fmt.Println()
	}
	return nil
}
