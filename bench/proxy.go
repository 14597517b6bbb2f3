package main

import (
	"fmt"
	"os/exec"
)

var (
	nginxProxy = contestant{name: "nginx, proxy_pass", needs: []string{"nginx"}, start: startNginxProxy}
	ourProxy   = contestant{name: "pagi-bridge, proxy", needs: []string{"nginx"}, start: startOurProxy}
)

// proxy measures a small answer of nginx through our proxy and through another nginx, which keeps its
// connections to the backend.
func (b *bench) proxy() error {
	bouts, err := b.those([]bout{
		{contestant: nginxProxy, connections: b.conns, rival: 0},
		{contestant: ourProxy, connections: b.conns, rival: 0},
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds of %d s, wrk -t1; medians; the last columns say what the rival does\n\n", b.rounds, b.seconds)
	results, err := rounds(b, bouts, b.throughput)
	if err != nil {
		return err
	}
	b.table(bouts, results)
	return nil
}

// proxied makes the server behind a proxy.
func (b *bench) proxied() (backend *exec.Cmd, address string, err error) {
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	s := setup{port: port}
	backend, err = b.nginx(s, `location / { default_type text/plain; return 200 "Hello World"; }`, "")
	return backend, s.address(), err
}

func startNginxProxy(b *bench, s setup) ([]*exec.Cmd, error) {
	backend, address, err := b.proxied()
	if err != nil {
		return nil, err
	}
	nginx, err := b.nginx(s, `location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }`,
		fmt.Sprintf("upstream backend { server %s; keepalive 128; keepalive_requests 100000000; }", address))
	if err != nil {
		return nil, err
	}
	return launch(backend, nginx)
}

func startOurProxy(b *bench, s setup) ([]*exec.Cmd, error) {
	backend, address, err := b.proxied()
	if err != nil {
		return nil, err
	}
	file, err := b.write(fmt.Sprintf("proxy-%d.yaml", s.port), fmt.Sprintf("listen: %s\naccess_log: \"off\"\nenvironment: deployment\nmounts: [{proxy: \"http://%s\"}]\n", s.address(), address))
	if err != nil {
		return nil, err
	}
	return launch(backend, exec.Command(b.binary, "-q", "-c", file))
}
