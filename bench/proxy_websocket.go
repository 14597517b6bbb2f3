package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// proxyWebSocket measures the time of an echo through our proxy and through nginx, to a server made of
// gorilla/websocket: with one client, and with many.
func (b *bench) proxyWebSocket() error {
	echo := filepath.Join(b.dir, "wsecho")
	if err := b.build(echo, "./bench/wsecho"); err != nil {
		return err
	}
	backend := func() (*exec.Cmd, string, error) {
		port, err := freePort()
		if err != nil {
			return nil, "", err
		}
		address := setup{port: port}.address()
		return exec.Command(echo, "gorilla", address), address, nil
	}
	nginx := contestant{name: "nginx, proxy_pass", needs: []string{"nginx"}, start: func(b *bench, s setup) ([]*exec.Cmd, error) {
		server, address, err := backend()
		if err != nil {
			return nil, err
		}
		nginx, err := b.nginx(s, fmt.Sprintf(`location = /ready { return 200; } location / { proxy_pass http://%s; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; proxy_set_header Host $host; }`, address), "")
		if err != nil {
			return nil, err
		}
		return launch(server, nginx)
	}, ready: "/ready"}
	ours := contestant{name: "pagi-bridge, proxy", start: func(b *bench, s setup) ([]*exec.Cmd, error) {
		server, address, err := backend()
		if err != nil {
			return nil, err
		}
		file, err := b.write(fmt.Sprintf("ws-%d.yaml", s.port), fmt.Sprintf("listen: %s\naccess_log: \"off\"\nmounts: [{path: /ready, not_found: {status: 200}}, {proxy: \"http://%s\"}]\n", s.address(), address))
		if err != nil {
			return nil, err
		}
		return launch(server, exec.Command(b.binary, "-q", "-E", "deployment", "-c", file))
	}, ready: "/ready"}
	if !b.isHere(nginx) {
		return errors.New("there is no nginx to compare with")
	}
	fmt.Printf("%d rounds of %d s in the order nginx, pagi-bridge, pagi-bridge, nginx; %d bytes; medians\n\n", b.rounds, b.seconds, echoSize)
	fmt.Println("| clients | | echoes/s | p50 | p99 |")
	fmt.Println("| ---: | --- | ---: | ---: | ---: |")
	for _, clients := range []int{1, echoClients} {
		bouts := [2]bout{{contestant: nginx, connections: clients}, {contestant: ours, connections: clients}}
		results, err := abba(b.rounds, fresh(b, bouts, func(x *bout, url string, _ []*exec.Cmd) (load, error) {
			return echoTimes("ws"+strings.TrimPrefix(url, "http")+"/", x.connections, time.Duration(b.seconds)*time.Second)
		}), meanLoad)
		if err != nil {
			return err
		}
		for i, x := range bouts {
			fmt.Printf("| %d | %s | %.0f | %v | %v |\n", clients, x.title(), median(results[i], func(l load) float64 { return l.rate }),
				medianTime(results[i], func(l load) time.Duration { return l.p50 }), medianTime(results[i], func(l load) time.Duration { return l.p99 }))
		}
		fmt.Printf("| | of nginx's | %.2fx | %.2fx | %.2fx |\n", ratio(results[1], results[0], func(l load) float64 { return l.rate }),
			ratio(results[1], results[0], func(l load) float64 { return float64(l.p50) }), ratio(results[1], results[0], func(l load) float64 { return float64(l.p99) }))
	}
	return nil
}

// echoTimes returns how long messages take to come back to clients that send one after the other.
func echoTimes(url string, clients int, d time.Duration) (load, error) {
	conns := make([]*websocket.Conn, clients)
	for i := range conns {
		c, err := dialSoon(url)
		if err != nil {
			return load{}, err
		}
		defer c.Close()
		conns[i] = c
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	took, failed := make([][]time.Duration, clients), make([]error, clients)
	var all sync.WaitGroup
	begun := time.Now()
	for i, c := range conns {
		all.Go(func() {
			message := bytes.Repeat([]byte("x"), echoSize)
			for ctx.Err() == nil {
				start := time.Now()
				if failed[i] = c.WriteMessage(websocket.TextMessage, message); failed[i] != nil {
					return
				}
				_, got, err := c.ReadMessage()
				if err != nil || !bytes.Equal(got, message) {
					failed[i] = fmt.Errorf("got %q, %w", got, err)
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	all.Wait()
	whole := time.Since(begun)
	if err := errors.Join(failed...); err != nil {
		return load{}, err
	}
	list := slices.Concat(took...)
	slices.Sort(list)
	if len(list) == 0 {
		return load{}, errors.New("no message came back")
	}
	return load{rate: float64(len(list)) / whole.Seconds(), p50: list[len(list)/2], p99: list[len(list)*99/100]}, nil
}

// dialSoon connects as soon as the server behind the proxy listens.
func dialSoon(url string) (*websocket.Conn, error) {
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		c, res, err := websocket.DefaultDialer.Dial(url, http.Header{})
		if err == nil {
			return c, nil
		}
		if res != nil {
			err = fmt.Errorf("%w: %s", err, res.Status)
		}
		if time.Since(begin) > 10*time.Second {
			return nil, err
		}
	}
}
