package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/plugin/adapters"
	"github.com/pagi-go/pagi-bridge/site"
)

// routesCommand is the command "pagi-bridge routes".
func routesCommand() *command {
	c := newCommand("routes", "", "List the routes and mounts of a site.")
	c.usage, c.reads = []string{"pagi-bridge routes -c site.yaml"}, true
	asJSON := c.flags.Bool("json", false, "print JSON instead of a table")
	config := c.flags.StringP("config", "c", "", "list the routes of the site `FILE`")
	c.run = func(_ context.Context, p Process) int {
		switch {
		case c.flags.NArg() > 0:
			return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", c.flags.Arg(0)))
		case *config == "":
			return complain(p, ExitUsage, errors.New("give -c FILE"))
		}
		return showRoutes(*config, *asJSON, p)
	}
	return c
}

func showRoutes(config string, asJSON bool, p Process) int {
	s, err := site.Loader{LookupEnv: p.LookupEnv}.Load(config)
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	if s.Settings.Environment == "" {
		s.Settings.Environment = defaultEnvironment(p)
	}
	s.Logger = slog.New(slog.DiscardHandler)
	s.Adapters = p.newAdapters(adapters.Options{})
	if _, err := s.Build(); err != nil {
		return complain(p, ExitUsage, err)
	}
	if !asJSON {
		return say(p, routesText(s.Routes()))
	}
	text, err := json.MarshalIndent(s.Routes(), "", "  ")
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	return say(p, string(text)+"\n")
}

// routesText is the table for people.
func routesText(routes []site.Route) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "METHOD\tHOST\tPATH\tKIND\tSOURCE\tNAME")
	for _, r := range routes {
		method := r.Method
		if r.Type == pagi.TypeSSE || r.Type == pagi.TypeWebSocket {
			method = r.Type
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", method, printable(r.Host), printable(r.Path), r.Kind, printable(r.Source), printable(r.Name))
	}
	_ = w.Flush() // a Builder takes everything
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ") // of routes without a name
	}
	return strings.Join(lines, "\n")
}
