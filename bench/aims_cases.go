package main

import "os/exec"

// oursPatient never closes a connection because it is idle.
var oursPatient = contestant{name: "pagi-bridge", start: startOursPatient}

func startOursPatient(b *bench, s setup) ([]*exec.Cmd, error) {
	cmd := b.gateway(s)
	cmd.Args = append(cmd.Args, "--timeout", "0")
	return launch(cmd)
}

// allAims are the cases in the order in which they are measured. A bout without workers has as many as pagi-bridge chooses.
func (b *bench) allAims() []aim {
	hello := writes("hello.psgi", helloApp)
	alone := extra{title: "the application alone", site: plainSite}.contestant()
	const active = keptConnections / 10

	page := func(f framework, rival contestant, connections int, p pair) *pair {
		x := bout{workers: b.workers, connections: connections}
		p.ours, p.rival, p.app = x.by(f.served(ours)), x.by(f.served(rival)), f.app
		p.rival.preload = true // Starman loads the application in each worker otherwise
		return &p
	}
	script := func(by, rival contestant, file string, least float64) *pair {
		x := bout{connections: cgiConnections}
		if file == "module.cgi" {
			by, rival = using("CGI", by), using("CGI", rival)
		}
		return &pair{ours: x.by(by), rival: x.by(rival), app: (*bench).cgiDirectory, path: "/cgi-bin/" + file, least: least}
	}
	file := func(name string, least float64) *pair {
		x := bout{connections: b.conns}
		return &pair{ours: x.by(oursFiles), rival: x.by(nginxStatic), app: (*bench).files, path: "/files/" + name, least: least}
	}
	beside := func(x extra, least float64) *pair {
		y := bout{workers: b.workers, connections: b.conns}
		return &pair{ours: y.by(x.contestant()), rival: y.by(alone), app: hello, least: least}
	}
	small := func(rival contestant, least float64) *pair {
		x := bout{connections: b.conns}
		against := x.by(rival)
		against.workers = b.workers
		return &pair{ours: x.by(ours), rival: against, app: hello, least: least}
	}
	same := bout{workers: b.workers, connections: b.conns}

	return []aim{
		{name: "hello-uwsgi", title: "a small PSGI answer, default flags", pair: small(nginxUWSGI, 1.5)},
		{name: "hello-starman", title: "a small PSGI answer", pair: small(nginxStarman, 4)},
		{name: "hello-go", title: "a small PSGI answer", pair: small(bareGo, 0.6)},
		{name: "dancer2", title: "a page of Dancer2", pair: page(dancer2, nginxUWSGI, b.conns, pair{least: 1.25, tail: true})},
		{name: "catalyst", title: "a page of Catalyst", pair: page(catalyst, nginxUWSGI, b.conns, pair{least: 1.2, tail: true})},
		{name: "dancer2-few", title: "a page of Dancer2, as many connections as workers", pair: page(dancer2, starman, b.workers, pair{least: 1})},
		{name: "catalyst-few", title: "a page of Catalyst, as many connections as workers", pair: page(catalyst, starman, b.workers, pair{least: 1})},
		{name: "cgi-module-fork", title: "CGI.pm by fork", pair: script(oursFork, lighttpd, "module.cgi", 12)},
		{name: "cgi-shell", title: "shell by exec", pair: script(oursCGI, lighttpd, "hello.sh", 1)},
		{name: "cgi-perl", title: "plain Perl by exec", pair: script(oursCGI, lighttpd, "plain.cgi", 1)},
		{name: "cgi-perl-fork", title: "plain Perl by fork", pair: script(oursFork, lighttpd, "plain.cgi", 2)},
		{name: "cgi-module-persistent", title: "CGI.pm, persistent", pair: script(oursPersistent, registry, "module.cgi", 1.3)},
		{name: "cgi-perl-persistent", title: "plain Perl, persistent", pair: script(oursPersistent, registry, "plain.cgi", 0.8)},
		{name: "file-1k", title: "a file of 1 KiB", pair: file("1k", 0.85)},
		{name: "file-1m", title: "a file of 1 MiB", pair: file("1m", 1.1)},
		{name: "pagi", title: "a small answer of PAGI in Perl", pair: &pair{ours: same.by(oursPAGI), rival: same.by(newestPAGI), app: writes("pagi.pl", pagiApp), least: 2}},
		{name: "middleware", title: "ten middleware of a typical site", pair: beside(withMiddleware, 0.92)},
		{name: "mounts", title: "64 mounts instead of 1", pair: beside(withMounts, 0.98)},
		{name: "routes", title: "a site of 1,000 routes", pair: beside(withRoutes, 0.98)},
		{name: "keepalive", title: "2,000 connections, 1 in 10 active", pair: &pair{
			ours:  bout{contestant: oursPatient, name: "2,000 connections", connections: active, guests: keptConnections - active},
			rival: bout{contestant: oursPatient, name: "200 connections", connections: active},
			app:   hello, least: 0.9}},
		{name: "rest", title: "the gateway at rest", size: &size{unit: "MB", of: 1e6, most: 30, subject: "PSS", begin: beginAtRest}},
		{name: "idle", title: "10,000 idle keep-alive connections", size: &size{unit: "KB", of: 1e3, most: 4, subject: "VmRSS for each", begin: beginKept}},
	}
}

// keptConnections are those of which a tenth is active.
const keptConnections = 2000

// by is the bout with a contestant.
func (x bout) by(c contestant) bout {
	x.contestant = c
	return x
}
