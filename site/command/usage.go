package command

import (
	"fmt"
	"strings"
)

// usages are the ways to call the program, for the help and the manual page.
var usages = []struct{ line, does string }{
	{"pagi-bridge", "serve app.psgi of this directory, or else this directory's files"},
	{"pagi-bridge app.psgi", "serve a PSGI application; also *.pl, and files whose first line names perl"},
	{"pagi-bridge -e 'CODE'", "serve a PSGI application given as Perl code"},
	{"pagi-bridge --cgi cgi-bin/", "serve a directory of CGI scripts"},
	{"pagi-bridge script.cgi", "serve one CGI script"},
	{"pagi-bridge DIR", "serve static files, with a listing"},
	{"pagi-bridge -c site.yaml", "serve all of these together, by host and path"},
	{"pagi-bridge -t -c site.yaml", "check a site file"},
	{"pagi-bridge status -c site.yaml", "tell what a running gateway is doing"},
	{"pagi-bridge stack -c site.yaml", "tell where the processes of a running gateway are"},
	{"pagi-bridge top -c site.yaml", "show the same in a table, again and again"},
	{"pagi-bridge drain -c site.yaml", "tell load balancers that a running gateway stops, then stop it"},
	{"pagi-bridge reload -c site.yaml", "reload a running gateway; also scale, log-level, reopen, run-job"},
	{"pagi-bridge healthcheck -c site.yaml", "tell whether a running gateway can take requests"},
	{"pagi-bridge routes -c site.yaml", "list the routes and mounts of a site"},
	{"pagi-bridge import /etc/apache2", "make a site file of the configuration of another server"},
	{"pagi-bridge plugin verify ./p", "say what is wrong with a plugin"},
	{"pagi-bridge schema", "print a JSON Schema of site files; also man, completion"},
	{"pagi-bridge help, version, check", "do the same as --help, --version and --test"},
}

// programDescription begins the manual page.
const programDescription = "pagi-bridge serves PSGI applications, CGI scripts, PAGI applications in Perl and files behind one front: HTTP/1.1, HTTP/2, " +
	"HTTP/3, WebSocket, Server-Sent Events and TLS. What it serves is named by an argument, or by a site file with the option `--config`: " +
	"see `pagi-bridge.yaml`(5). A flag beats the site file."

// programSections are the parts of the help behind the options.
var programSections = []struct {
	title string
	items [][2]string
	text  string
}{
	{title: "Signals", items: [][2]string{
		{"TERM, INT", "stop gracefully; a second one stops at once"},
		{"HUP", "read the site file again and load PSGI applications anew"},
		{"USR1", "open the log files anew"},
		{"USR2", "start the program anew and hand the sockets over to it"},
		{"TTIN, TTOU", "add a worker to each PSGI application, or remove one"},
	}},
	{title: "Exit codes", text: `0 stopped as asked, 1 could not start or failed, 2 wrong flags or a wrong site file.
Of import: 3 the site file lacks a part of the configuration.`},
	{title: "Environment", text: `without -E the variable PAGI_ENV names the environment, then PLACK_ENV. Without both it is
development at a terminal and deployment elsewhere.`},
}

// usage returns the text of --help.
func usage() string {
	o, err := parseFlags([]string{"--help"})
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	b.WriteString("Serve Perl web software and Go code under one address.\n\nUsage:\n")
	for _, u := range usages {
		fmt.Fprintf(&b, "  %-36s  %s\n", u.line, u.does)
	}
	b.WriteString("\nOptions:\n" + o.set.FlagUsagesWrapped(100))
	for _, s := range programSections {
		b.WriteString("\n" + s.title + ":")
		if s.text != "" {
			b.WriteString(" " + s.text + "\n")
			continue
		}
		b.WriteString("\n")
		for _, item := range s.items {
			fmt.Fprintf(&b, "  %-10s  %s\n", item[0], item[1])
		}
	}
	return b.String()
}
