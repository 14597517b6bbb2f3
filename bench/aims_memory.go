package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// beginAtRest puts a load of a second on the gateway with its own number of workers, and returns a function that waits for the
// rest of keptRest and then takes the gateway's memory.
func beginAtRest(b *bench) (func() ([]float64, error), error) {
	return b.beginRest(ours, func(url string, pid int, arrived chan<- struct{}) (float64, error) {
		if _, err := b.restingPSS(url, pid); err != nil {
			return 0, err
		}
		close(arrived)
		time.Sleep(keptRest)
		pss, err := kilobytes(pid, "smaps_rollup", "Pss")
		return float64(pss), err
	})
}

// beginKept has clients come and stay, and returns a function that waits for the rest of keptRest and then takes the memory
// that each needs.
func beginKept(b *bench) (func() ([]float64, error), error) { return b.beginRest(oursPatient, kept) }

// beginRest starts a contestant and weighs it in the background. weigh closes arrived when nothing is to do any more but to wait.
func (b *bench) beginRest(c contestant, weigh func(url string, pid int, arrived chan<- struct{}) (float64, error)) (func() ([]float64, error), error) {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return nil, err
	}
	arrived, ended := make(chan struct{}), make(chan error, 1)
	var found float64
	go func() {
		ended <- b.serve(c, setup{app: app}, func(url string, processes []*exec.Cmd) (err error) {
			found, err = weigh(url, processes[0].Process.Pid, arrived)
			return err
		})
	}()
	select {
	case <-arrived:
	case err := <-ended:
		return nil, err
	}
	return func() ([]float64, error) { err := <-ended; return []float64{found}, err }, nil
}

// keptRest is how long a gateway rests until its memory is read. It gives memory back to the system at its next garbage
// collection, which comes after two minutes at the latest.
const keptRest = 150 * time.Second

// kept returns how many bytes the server's memory grows by for each client that has been answered once and stays. It closes
// arrived when all have been answered.
func kept(url string, pid int, arrived chan<- struct{}) (float64, error) {
	before, err := kilobytes(pid, "status", "VmRSS")
	if err != nil {
		return 0, err
	}
	clients := make([]client, restingClients)
	defer func() {
		for i := range clients {
			clients[i].close()
		}
	}()
	ask := order{request: get("/")}
	for i := range clients {
		clients[i].address = strings.TrimPrefix(url, "http://")
		if err := clients[i].do(&ask); err != nil {
			return 0, fmt.Errorf("client %d: %w", i, err)
		}
	}
	close(arrived)
	time.Sleep(keptRest)
	after, err := kilobytes(pid, "status", "VmRSS")
	for i := range clients {
		if e := clients[i].do(&ask); e != nil {
			return 0, errors.Join(err, fmt.Errorf("client %d did not stay for %v: %w", i, keptRest, e))
		}
	}
	return float64(after-before) / restingClients, err
}
