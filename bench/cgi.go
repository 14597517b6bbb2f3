package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// cgiConnections is how many connections CGI servers are measured with: their work is
// starting processes, and more connections only wait.
const cgiConnections = 8

// cgiScripts are the scripts that are served, by their names in /cgi-bin/.
var cgiScripts = map[string]string{
	"hello.sh":   "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nHello World\\n'\n",
	"plain.cgi":  "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\nHello World\\n\";\n",
	"module.cgi": "#!/usr/bin/perl\nuse strict;\nuse warnings;\nuse CGI;\nmy $q = CGI->new;\nprint $q->header('text/plain'), 'Hello ', $q->param('name') // 'World', \"\\n\";\n",
	"cat.sh":     "#!/bin/sh\nprintf 'Content-Type: application/octet-stream\\n\\n'\nexec cat\n",
	"up.sh":      "#!/bin/sh\ncat >/dev/null\nprintf 'Content-Type: text/plain\\n\\nready\\n'\n",
	"down.sh":    "#!/bin/sh\nprintf 'Content-Type: application/octet-stream\\n\\n'\nexec head -c 500000000 /dev/zero\n",
	"sleep.sh":   "#!/bin/sh\nsleep 1\nprintf 'Content-Type: text/plain\\n\\nslept\\n'\n",
}

// cgiDirectory makes a directory of scripts that every user may read.
func (b *bench) cgiDirectory() (string, error) {
	dir := filepath.Join(b.dir, "cgi-bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, script := range cgiScripts {
		if _, err := b.write("cgi-bin/"+name, script); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// cgi measures small answers of CGI scripts.
func (b *bench) cgi() error {
	dir, err := b.cgiDirectory()
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds of %d s, wrk -t1 -c%d; medians\n\n", b.rounds, b.seconds, cgiConnections)
	for _, c := range []struct{ title, script, module string }{
		{"A shell script", "hello.sh", ""},
		{"A plain Perl script", "plain.cgi", ""},
		{"A Perl script that uses CGI.pm", "module.cgi", "CGI"},
	} {
		if c.module != "" && !b.isHere(using(c.module, oursCGI)) {
			continue
		}
		if err := b.compareCGI(c.title, dir, c.script, oursCGI, lighttpd, apacheCGID, fcgiwrap, goCGI); err != nil {
			return err
		}
	}
	return nil
}

// compareCGI measures one script of a directory and prints the result.
func (b *bench) compareCGI(title, dir, script string, contestants ...contestant) error {
	var all []bout
	for _, contestant := range contestants {
		all = append(all, bout{contestant: contestant, app: dir, connections: cgiConnections})
	}
	bouts, err := b.those(all)
	if err != nil || len(bouts) == 0 {
		return err
	}
	results, err := rounds(b, bouts, func(x *bout, url string, processes []*exec.Cmd) (load, error) {
		return b.throughput(x, url+"/cgi-bin/"+script, processes)
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s:\n\n", title)
	b.table(bouts, results)
	fmt.Println()
	return nil
}
