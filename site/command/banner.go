package command

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"text/tabwriter"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// banner prints the mounts and the addresses to open, in one write. guess says how the kind of an application was told,
// "" if it was given.
func banner(w io.Writer, s *site.Site, guess string, addrs []net.Addr, listeners []server.ListenerStatus) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "pagi-bridge %s (%s)\n", version(), s.Settings.Environment)
	table := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	for _, m := range s.All() {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", m.Name(), m.Source, nature(m))
	}
	table.Flush()
	if guess != "" {
		fmt.Fprintf(&text, "  (%s)\n", guess)
	}
	for _, a := range addresses(addrs, listeners) {
		fmt.Fprintln(&text, "Serving at", a)
	}
	_, _ = text.WriteTo(w) // there is nowhere else to report an error
}

// addresses returns the URLs for a browser. listeners are those of addrs, in the same order.
func addresses(addrs []net.Addr, listeners []server.ListenerStatus) []string {
	all := make([]string, len(addrs))
	for i, a := range addrs {
		scheme := "http"
		if listeners[i].TLS {
			scheme = "https"
		}
		all[i] = server.URL(scheme, a)
	}
	return all
}

// nature describes the kind of a mount.
func nature(m *site.Mount) string {
	switch m.Kind {
	case site.KindPSGI:
		if o, is := m.Options.(*psgi.PSGI); is && o.HasLoop() {
			return "PSGI in an event loop, " + workers(m)
		}
		return "PSGI, " + workers(m)
	case site.KindPerlPAGI:
		return "PAGI in Perl, " + workers(m)
	case site.KindCGI:
		return "CGI"
	case site.KindCascade:
		return "the first of its parts that has it"
	case site.KindRouter:
		return "the part whose route matches"
	case site.KindFile:
		return "files"
	case site.KindDirectory:
		return "files, with listing"
	case site.KindRedirect:
		return "redirect"
	case site.KindNotFound:
		return "not found"
	case site.KindPlugin:
		return "plugin"
	}
	return "Go"
}

// workers tells how many workers a mount has.
func workers(m *site.Mount) string {
	switch {
	case m.MaxWorkers > 0:
		return fmt.Sprintf("%d to %d workers", m.Workers, m.MaxWorkers)
	case m.Workers == 1:
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", m.Workers)
}

// testedLine returns the answer of -t for a correct site.
func testedLine(s *site.Site) string {
	if s.File == "" {
		return "OK\n"
	}
	return s.File + ": OK\n"
}
