package main

import (
	"fmt"
	"path/filepath"
)

// framework is an application in bench/apps.
type framework struct{ name, file, module string }

var (
	dancer2  = framework{"Dancer2", "dancer2.psgi", "Dancer2"}
	catalyst = framework{"Catalyst", "catalyst.psgi", "Catalyst::View::TT"}
)

// app returns the application's file.
func (f framework) app(*bench) (string, error) {
	return filepath.Abs(filepath.Join("bench/apps", f.file))
}

// served is a contestant that needs the framework.
func (f framework) served(by contestant) contestant { return using(f.module, by) }

// frameworks measures a page made of a template in two frameworks. Its rate is compared with
// Starman at as many connections as Starman can serve. Its p99 is compared with Starman without
// keep-alive, at as many connections as pagi-bridge gets. All contestants preload the application,
// as uWSGI does by itself.
func (b *bench) frameworks() error {
	fmt.Printf("%d rounds of %d s, wrk -t1; medians\n\n", b.rounds, b.seconds)
	for _, framework := range []framework{dancer2, catalyst} {
		app, err := framework.app(b)
		if err != nil {
			return err
		}
		if !b.isHere(framework.served(ours)) {
			continue
		}
		bouts, err := b.those([]bout{
			{contestant: ours, app: app, workers: b.workers, connections: b.conns, preload: true},
			{contestant: starman, app: app, workers: b.workers, connections: b.workers, preload: true},
			{contestant: starmanClosing, app: app, workers: b.workers, connections: b.conns, preload: true},
			{contestant: nginxUWSGI, app: app, workers: b.workers, connections: b.conns, preload: true},
			{contestant: ours, app: app, workers: b.workers, connections: b.workers, preload: true, rival: 5},
			{contestant: ours, name: "pagi-bridge, not preloaded", app: app, workers: b.workers, connections: b.conns, rival: 5},
		})
		if err != nil {
			return err
		}
		results, err := rounds(b, bouts, b.throughput)
		if err != nil {
			return err
		}
		fmt.Printf("%s:\n\n", framework.name)
		b.table(bouts, results)
		fmt.Println()
	}
	return nil
}
