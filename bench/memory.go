package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

const bulkApp = `
my $block = 'x' x 65536;
sub {
	my $e = shift;
	if ($e->{PATH_INFO} eq '/upload') {
		my $n = 0;
		while (my $got = read $e->{'psgi.input'}, my $buffer, 65536) { $n += $got }
		return [200, [], [$n]];
	}
	return [200, [], ['ready']] if $e->{PATH_INFO} ne '/download';
	return sub {
		my $w = $_[0]->([200, []]);
		$w->write($block) for 1 .. 16384;
		$w->close;
	};
}
`

const (
	uploadSize   = 100 << 20
	downloadSize = 1 << 30
)

const uploadScript = `#!/usr/bin/perl
binmode STDIN; my $n = 0;
while (my $got = sysread STDIN, my $buffer, 65536) { $n += $got }
print "Content-Type: text/plain\n\n$n";
`

const downloadScript = `#!/usr/bin/perl
$| = 1; print "Content-Type: application/octet-stream\n\n"; my $block = 'x' x 65536;
for (1 .. 16384) { syswrite STDOUT, $block }
`

const readyScript = "#!/bin/sh\necho Content-Type: text/plain\necho\necho ready\n"

// zeros is a request body of a certain size that nobody keeps in memory.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// memory measures the gateway's peak memory while large bodies pass through it.
func (b *bench) memory() error {
	app, err := b.write("bulk.psgi", bulkApp)
	if err != nil {
		return err
	}
	scripts := filepath.Join(b.dir, "cgi-bin")
	if err := os.Mkdir(scripts, 0o700); err != nil {
		return err
	}
	for name, content := range map[string]string{"upload": uploadScript, "download": downloadScript, "index.cgi": readyScript} {
		if _, err := b.write("cgi-bin/"+name, content); err != nil {
			return err
		}
	}
	fmt.Println("| | transfer | took | peak memory of the gateway |")
	fmt.Println("| --- | --- | ---: | ---: |")
	for _, kind := range []struct {
		name string
		args []string
		path string
	}{
		{"PSGI", []string{"-w", "2", app}, "/"},
		{"CGI", []string{"--cgi", scripts}, "/index.cgi"},
	} {
		way := contestant{name: kind.name, ready: kind.path, start: func(b *bench, s setup) ([]*exec.Cmd, error) {
			args := append([]string{"-q", "--no-access-log", "--max-body-size", "0", "-p", strconv.Itoa(s.port)}, kind.args...)
			return launch(exec.Command(b.binary, args...))
		}}
		for _, transfer := range []string{"upload of 100 MiB", "download of 1 GiB"} {
			err := b.serve(way, setup{workers: 2}, func(url string, processes []*exec.Cmd) error {
				start := time.Now()
				if transfer[0] == 'u' {
					err = upload(url + "/upload")
				} else {
					err = download(url + "/download")
				}
				if err != nil {
					return err
				}
				took := time.Since(start)
				peak, err := kilobytes(processes[0].Process.Pid, "status", "VmHWM")
				fmt.Printf("| %s | %s | %v | %.1f MiB |\n", way.name, transfer, took.Round(10*time.Millisecond), float64(peak)/(1<<20))
				return err
			})
			if err != nil {
				return fmt.Errorf("%s, %s: %w", way.name, transfer, err)
			}
		}
	}
	return nil
}

func upload(url string) error {
	req, err := http.NewRequest("POST", url, io.LimitReader(zeros{}, uploadSize))
	if err != nil {
		return err
	}
	req.ContentLength = uploadSize
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && string(body) != strconv.Itoa(uploadSize) {
		err = fmt.Errorf("%s: %q arrived", res.Status, body)
	}
	return err
}

func download(url string) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && n != downloadSize {
		err = fmt.Errorf("%s: %d bytes arrived", res.Status, n)
	}
	return err
}
