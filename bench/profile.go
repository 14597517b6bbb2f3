package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/pprof"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/server"
)

// profileFile is where the compiler looks for a profile of the program (go help build, -pgo). With
// the profile the hot path costs about a tenth less.
const profileFile = "cmd/pagi-bridge/default.pgo"

// profile records a CPU profile of the server under the load of hello and writes it
// to profileFile.
func (b *bench) profile() (err error) {
	path, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	app, err := psgi.PSGI{App: path, Processes: worker.Processes{Workers: b.workers}}.Build()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	serving := make(chan net.Addr, 1)
	srv := &server.Server{
		App:    &apps.URLMap{Mounts: []apps.Mount{{Path: "/", App: app}}},
		Listen: []string{"127.0.0.1:0"},
		Ready:  func(addrs []net.Addr) error { serving <- addrs[0]; return nil },
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	var address net.Addr
	select {
	case address = <-serving:
	case err := <-ended:
		return err
	}
	f, err := os.Create(profileFile)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	l, loadErr := b.wrk("http://"+address.String()+"/", b.conns, b.seconds)
	pprof.StopCPUProfile()
	fmt.Printf("%s: recorded at %.0f requests/s\n", profileFile, l.rate)
	cancel()
	return errors.Join(loadErr, f.Close(), <-ended)
}
