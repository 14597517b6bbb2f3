package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/pprof"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// profileFile is where the compiler looks for a profile of the program (go help build, -pgo). With
// the profile the hot path costs about a tenth less.
const profileFile = "cmd/pagi-bridge/default.pgo"

// profiled is a site with the hot paths of the gateway, in its own process.
const profiled = `environment: deployment
mounts:
  - {path: /, psgi: %[1]s, workers: %[4]d, isolate: none}
  - {path: /pagi, perlpagi: %[2]s, workers: %[4]d, isolate: none}
  - {path: /files, file: %[3]s}
  - path: /typical
    psgi: %[1]s
    workers: %[4]d
    isolate: none
    %[5]s`

// profile records a CPU profile of the server under the loads of its hot paths, one after another, and writes it to profileFile: a
// small answer of PSGI, one of PAGI in Perl, one of PSGI behind the middleware of a typical site, and a file of 1 KiB.
func (b *bench) profile() (err error) {
	app, err := b.profiledSite()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	serving := make(chan net.Addr, 1)
	srv := &server.Server{
		App:    app,
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
	var loadErr error
	for _, path := range []string{"/", "/pagi", "/typical", "/files/1k"} {
		l, err := b.wrk("http://"+address.String()+path, b.conns, b.seconds)
		fmt.Printf("%s: %.0f requests/s, %.0f errors\n", path, l.rate, l.errors)
		loadErr = errors.Join(loadErr, err)
	}
	pprof.StopCPUProfile()
	cancel()
	return errors.Join(loadErr, f.Close(), <-ended)
}

func (b *bench) profiledSite() (pagi.App, error) {
	hello, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return nil, err
	}
	events, err := b.write("pagi.pl", pagiApp)
	if err != nil {
		return nil, err
	}
	files, err := b.files()
	if err != nil {
		return nil, err
	}
	file, err := b.write("profiled.yaml", fmt.Sprintf(profiled, hello, events, files, b.workers, strings.ReplaceAll(tenMiddleware, "\n", "\n    ")))
	if err != nil {
		return nil, err
	}
	s, err := site.Load(file)
	if err != nil {
		return nil, err
	}
	return s.Build()
}
