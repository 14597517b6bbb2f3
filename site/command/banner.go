package command

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// banner says what is mounted where and which address to open.
func banner(w io.Writer, s *site.Site, addrs []net.Addr, listeners []server.ListenerStatus) {
	fmt.Fprintf(w, "pagi-bridge %s (%s)\n", version(), s.Settings.Environment)
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, m := range s.Mounts {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", m.Name(), m.Source, nature(m))
	}
	table.Flush()
	for _, a := range addresses(addrs, listeners) {
		fmt.Fprintln(w, "Serving at", a)
	}
}

// addresses are what somebody types into a browser. Those of listeners go with addrs.
func addresses(addrs []net.Addr, listeners []server.ListenerStatus) []string {
	all := make([]string, len(addrs))
	for i, a := range addrs {
		scheme := "http"
		if listeners[i].TLS {
			scheme = "https"
		}
		all[i] = address(scheme, a)
	}
	return all
}

// nature says what kind of thing a mount is.
func nature(m *site.Mount) string {
	switch m.Kind {
	case site.KindPSGI:
		if m.MaxWorkers > 0 {
			return fmt.Sprintf("PSGI, %d to %d workers", m.Workers, m.MaxWorkers)
		}
		if m.Workers == 1 {
			return "PSGI, 1 worker"
		}
		return fmt.Sprintf("PSGI, %d workers", m.Workers)
	case site.KindCGI:
		return "CGI"
	case site.KindFile:
		return "files"
	case site.KindDirectory:
		return "files, with listing"
	case site.KindRedirect:
		return "redirect"
	case site.KindNotFound:
		return "not found"
	}
	return "Go"
}

// address is what somebody types into a browser. An address that stands for all
// of the machine's is shown as localhost.
func address(scheme string, a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return "unix:" + strings.TrimPrefix(a.String(), "unix:")
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() || tcp.IP == nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s://%s/", scheme, net.JoinHostPort(host, fmt.Sprint(tcp.Port)))
}

// version is the module's, "devel" for a build from a working tree.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

func versionLine() string {
	return fmt.Sprintf("pagi-bridge %s (PAGI 0.3, %s, %s/%s)", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// testedLine is what -t answers when all is well.
func testedLine(s *site.Site) string {
	if s.File == "" {
		return "OK\n"
	}
	return s.File + ": OK\n"
}
