package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

var (
	nativeGo    = contestant{name: "pagi-bridge, Go application", start: startNative}
	oursFiles   = contestant{name: "pagi-bridge, files", start: startOursFiles, ready: "/files/1k"}
	nginxStatic = contestant{name: "nginx, files", needs: []string{"nginx"}, start: startNginxStatic, ready: "/files/1k"}
	// The reference server and its modules are not packaged. PAGI_SERVER names its script, PERL5LIB
	// the directory of its modules.
	reference = contestant{name: "pagi-server", modules: []string{"PAGI::Server"}, variable: "PAGI_SERVER", start: startReference}
)

const referenceApp = `use Future::AsyncAwait;
async sub {
	my ($scope, $receive, $send) = @_;
	die "unsupported" if $scope->{type} ne 'http';
	await $send->({type => 'http.response.start', status => 200, headers => [['content-type', 'text/plain'], ['content-length', 11]]});
	await $send->({type => 'http.response.body', body => 'Hello World'});
}
`

// native measures Go applications and files, and compares net/http, the reference server and nginx
// with the same content.
func (b *bench) native() error {
	app, err := b.write("hello.pl", referenceApp)
	if err != nil {
		return err
	}
	if _, err := b.files(); err != nil {
		return err
	}
	bouts, err := b.those([]bout{
		{contestant: nativeGo, connections: b.conns, rival: 0},
		{contestant: bareGo, connections: b.conns, rival: 0},
		{contestant: reference, app: app, workers: 2, connections: b.conns, rival: 0},
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
	for _, file := range []string{"1k", "1m"} {
		bouts, err := b.those([]bout{
			{contestant: nginxStatic, connections: b.conns, rival: 0},
			{contestant: oursFiles, connections: b.conns, rival: 0},
		})
		if err != nil {
			return err
		}
		fmt.Printf("\nThe file %s:\n\n", file)
		results, err := rounds(b, bouts, func(x *bout, url string, processes []*exec.Cmd) (load, error) {
			return b.throughput(x, url+"/files/"+file, processes)
		})
		if err != nil {
			return err
		}
		b.table(bouts, results)
	}
	return nil
}

// files writes the files that are served, and returns their directory.
func (b *bench) files() (string, error) {
	dir := filepath.Join(b.dir, "files")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, size := range map[string]int{"1k": 1 << 10, "1m": 1 << 20} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func startNative(b *bench, s setup) ([]*exec.Cmd, error) {
	binary := filepath.Join(b.dir, "native")
	if err := b.build(binary, "./bench/native"); err != nil {
		return nil, err
	}
	return launch(exec.Command(binary, s.address(), filepath.Join(b.dir, "files")))
}

func startOursFiles(b *bench, s setup) ([]*exec.Cmd, error) {
	return b.launchSite(s, fmt.Sprintf("access_log: \"off\"\nmounts: [{path: /files, file: %s}]\n", filepath.Join(b.dir, "files")))
}

func startNginxStatic(b *bench, s setup) ([]*exec.Cmd, error) {
	nginx, err := b.nginx(s, fmt.Sprintf("root %s; location / { sendfile on; tcp_nopush on; }", b.dir), "")
	if err != nil {
		return nil, err
	}
	return launch(nginx)
}

func startReference(_ *bench, s setup) ([]*exec.Cmd, error) {
	return launch(exec.Command("perl", os.Getenv("PAGI_SERVER"), "--host", "127.0.0.1", "--port", fmt.Sprint(s.port),
		"--workers", fmt.Sprint(s.workers), "--no-access-log", s.app))
}
