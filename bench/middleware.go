package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

var (
	oursGzip   = contestant{name: "pagi-bridge", start: startOursGzip, ready: "/page.json"}
	nginxGzip  = contestant{name: "nginx", needs: []string{"nginx"}, start: startNginxGzip, ready: "/page.json"}
	believing  = contestant{name: "nginx + pagi-bridge, reverse_proxy", needs: []string{"nginx"}, start: startBelieving}
	unbelieved = contestant{name: "nginx + pagi-bridge", needs: []string{"nginx"}, start: startUnbelieved}
)

// middleware measures the middleware gzip beside nginx's, and what reverse_proxy costs behind nginx.
func (b *bench) middleware() error {
	if err := b.page(); err != nil {
		return err
	}
	bouts, err := b.those([]bout{{contestant: nginxGzip, connections: b.conns, rival: 0}, {contestant: oursGzip, connections: b.conns, rival: 0}})
	if err != nil {
		return err
	}
	fmt.Printf("64 KB of JSON, gzip at level 5:\n\n")
	results, err := rounds(b, bouts, func(x *bout, url string, _ []*exec.Cmd) (load, error) {
		if _, err := b.wrk(url+"/page.json", x.connections, 1, "Accept-Encoding: gzip"); err != nil {
			return load{}, err
		}
		return b.wrk(url+"/page.json", x.connections, b.seconds, "Accept-Encoding: gzip")
	})
	if err != nil {
		return err
	}
	b.table(bouts, results)
	app, err := b.write("hello.psgi", "sub { [200, ['Content-Type' => 'text/plain'], ['Hello World']] }\n")
	if err != nil {
		return err
	}
	bouts, err = b.those([]bout{
		{contestant: unbelieved, app: app, workers: b.workers, connections: b.conns, rival: 0},
		{contestant: believing, app: app, workers: b.workers, connections: b.conns, rival: 0},
	})
	if err != nil {
		return err
	}
	fmt.Printf("\nPSGI behind nginx:\n\n")
	if results, err = rounds(b, bouts, b.throughput); err != nil {
		return err
	}
	b.table(bouts, results)
	return nil
}

// page writes the file that is compressed.
func (b *bench) page() error {
	type entry struct {
		ID     int      `json:"id"`
		Title  string   `json:"title"`
		Author string   `json:"author"`
		Price  float64  `json:"price"`
		Tags   []string `json:"tags"`
	}
	var entries []entry
	for i := range 620 {
		entries = append(entries, entry{i, fmt.Sprintf("Volume %d of the collected works", i*7919%1000), fmt.Sprintf("Author %d", i*31%97), float64(i*37%5000) / 100, []string{"fiction", "paperback"}})
	}
	text, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "page.json"), text, 0o644)
}

func startNginxGzip(b *bench, s setup) ([]*exec.Cmd, error) {
	nginx, err := b.nginx(s, fmt.Sprintf("root %s; gzip on; gzip_comp_level 5; gzip_types application/json;", b.dir), "types { application/json json; }")
	if err != nil {
		return nil, err
	}
	return launch(nginx)
}

func startOursGzip(b *bench, s setup) ([]*exec.Cmd, error) {
	return b.launchSite(s, fmt.Sprintf("middleware: [gzip: {gzip_level: 5}]\nmounts: [{path: /, file: %s}]\n", b.dir))
}

func startBelieving(b *bench, s setup) ([]*exec.Cmd, error) {
	return b.behindNginx(s, "middleware: [reverse_proxy]\n")
}

func startUnbelieved(b *bench, s setup) ([]*exec.Cmd, error) { return b.behindNginx(s, "") }

// launchSite starts pagi-bridge with a site file.
func (b *bench) launchSite(s setup, site string) ([]*exec.Cmd, error) {
	file, err := b.write(fmt.Sprintf("site-%d.yaml", s.port), fmt.Sprintf("listen: %s\n%s", s.address(), site))
	if err != nil {
		return nil, err
	}
	return launch(exec.Command(b.binary, "-q", "-E", "deployment", "-c", file))
}

// behindNginx starts pagi-bridge at a Unix socket, and nginx in front of it.
func (b *bench) behindNginx(s setup, middleware string) ([]*exec.Cmd, error) {
	socket := filepath.Join(b.dir, fmt.Sprintf("behind-%d.sock", s.port))
	file, err := b.write(fmt.Sprintf("site-%d.yaml", s.port), fmt.Sprintf("listen: %s\n%smounts: [{path: /, psgi: %s, workers: %d}]\n", socket, middleware, s.app, s.workers))
	if err != nil {
		return nil, err
	}
	nginx, err := b.nginx(s, `location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection "";
		proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; }`,
		fmt.Sprintf("upstream behind { server unix:%s; keepalive 64; }", socket))
	if err != nil {
		return nil, err
	}
	return launch(exec.Command(b.binary, "-q", "-E", "deployment", "-c", file), nginx)
}
