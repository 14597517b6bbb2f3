package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// report is what "pagi-bridge status" tells.
type report struct {
	Version     string    `json:"version"`
	PID         int       `json:"pid"`
	Environment string    `json:"environment"`
	Since       time.Time `json:"since"`
	server.Status
	Mounts []mountReport `json:"mounts"`
}

// mountReport describes a mount, and its workers where it has some.
type mountReport struct {
	Mount   string         `json:"mount"`
	Source  string         `json:"source"`
	Kind    string         `json:"kind"`
	Workers []workerReport `json:"workers,omitempty"`
	Queued  int            `json:"queued,omitempty"`
	Oldest  float64        `json:"oldest_seconds,omitempty"` // of what is queued
	Problem string         `json:"problem,omitempty"`        // why workers cannot be started
}

// workerReport describes a worker.
type workerReport struct {
	ID         int       `json:"id"`
	PID        int       `json:"pid"`
	State      string    `json:"state"`
	Generation int       `json:"generation"`
	Served     int       `json:"served"`
	Inflight   int       `json:"inflight"`
	Since      time.Time `json:"since"`
	Resident   int64     `json:"resident"` // bytes
}

// report describes the gateway at this moment.
func (g *gateway) report() *report {
	s := g.current()
	r := &report{Version: version(), PID: os.Getpid(), Environment: s.Settings.Environment, Since: g.began}
	r.Status, _ = g.server.Status() // the zero status while it begins or ends
	workers := map[string]pool.Status{}
	for _, m := range s.Status() {
		workers[m.Mount] = m.Status
	}
	for _, m := range s.Mounts {
		r.Mounts = append(r.Mounts, reportOf(m, workers[m.Name()]))
	}
	return r
}

func reportOf(m *site.Mount, status pool.Status) mountReport {
	r := mountReport{Mount: m.Name(), Source: m.Source, Kind: m.Kind, Queued: status.Queued, Oldest: status.Oldest.Seconds(), Problem: status.StartError}
	for _, w := range status.Workers {
		r.Workers = append(r.Workers, workerReport{w.ID, w.PID, w.State.String(), w.Generation, w.Served, w.Inflight, w.Since, w.Resident})
	}
	return r
}

// statusServer answers at a Unix socket.
type statusServer struct {
	http     *http.Server
	listener *net.UnixListener
	file     fs.FileInfo
	path     string // of the socket
	hidden   string // where it is until it appears
	done     chan struct{}
}

// serveStatus answers with what report returns, in JSON, at a socket that is at path once
// it appears; it returns nil for no path. The socket's directory, which
// is made where it is missing, must be nobody else's: who can connect is told all.
// Where another process of the gateway answers there already, replace takes its place.
func serveStatus(path string, report func() *report, replace bool) (*statusServer, error) {
	if path == "" {
		return nil, nil
	}
	if err := privateDirectory(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close() // nothing was said on it
		if !replace {
			return nil, fmt.Errorf("another process answers at %s", path)
		}
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s exists and is no socket", path)
	}
	hidden := filepath.Join(filepath.Dir(path), "."+strconv.Itoa(os.Getpid()))
	if most := len(syscall.RawSockaddrUnix{}.Path) - 1; max(len(path), len(hidden)) > most {
		return nil, fmt.Errorf("%s is too long for a socket: together with the name of its directory it may have %d bytes", path, most)
	}
	if err := os.Remove(hidden); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a process that had the same number
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	s := &statusServer{listener: l, path: path, hidden: hidden, done: make(chan struct{})}
	if s.file, err = os.Lstat(hidden); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.http = &http.Server{ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(report()) // who asks sees where it breaks off
		})}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // until close
	}()
	return s, nil
}

// privateDirectory makes sure that a directory is there, ours, and closed to others.
func privateDirectory(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case ok && int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("the directory %s must be this process's user's, %d, is %d's", dir, os.Geteuid(), sys.Uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the directory %s must be nobody else's (mode 0700), has %04o", dir, info.Mode().Perm())
	}
	return nil
}

// appear puts the socket at its path.
func (s *statusServer) appear() error {
	if s == nil {
		return nil
	}
	return os.Rename(s.hidden, s.path)
}

func (s *statusServer) close() error {
	if s == nil {
		return nil
	}
	err := s.http.Close()
	<-s.done
	for _, path := range []string{s.path, s.hidden} {
		if there, statErr := os.Lstat(path); statErr == nil && os.SameFile(there, s.file) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// status is the command "pagi-bridge status".
func status(ctx context.Context, args []string, p Process) int {
	flags := pflag.NewFlagSet("pagi-bridge status", pflag.ContinueOnError)
	flags.Usage = func() {}
	asJSON := flags.Bool("json", false, "print JSON")
	socket := flags.String("status-socket", "", "the Unix socket `PATH` of the gateway")
	config := flags.StringP("config", "c", "", "take it from this site `FILE`")
	help := flags.BoolP("help", "h", false, "print this help")
	if err := flags.Parse(args); err != nil {
		return complain(p, ExitUsage, err)
	}
	switch {
	case *help:
		return say(p, "Tell what a running gateway does.\n\nUsage:\n  pagi-bridge status --status-socket PATH | -c site.yaml\n\nOptions:\n"+flags.FlagUsagesWrapped(100))
	case flags.NArg() > 0:
		return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	case *socket == "" && *config != "":
		s, err := site.Load(*config)
		if err != nil {
			return complain(p, ExitUsage, err)
		}
		*socket = s.Settings.StatusSocket
	}
	if *socket == "" {
		return complain(p, ExitUsage, errors.New("which gateway? say --status-socket PATH, or -c FILE of a site with status_socket"))
	}
	text, err := askStatus(ctx, *socket)
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	if *asJSON {
		return say(p, string(text))
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		return complain(p, ExitFailure, fmt.Errorf("%s: %w", *socket, err))
	}
	return say(p, r.text(time.Now()))
}

// askStatus returns what a gateway answers.
func askStatus(ctx context.Context, socket string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway/", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers: %w", err)
	}
	text, err := io.ReadAll(res.Body)
	return text, errors.Join(err, res.Body.Close())
}

// notes says what is special about a place.
func notes(l server.ListenerStatus) (text string) {
	if l.TLS {
		text += ", TLS"
	}
	if l.Proxy {
		text += ", proxies"
	}
	if l.Redirect {
		text += ", redirects to https"
	}
	return text
}

// text is the report for people.
func (r *report) text(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pagi-bridge %s (%s), process %d, for %v\n", r.Version, r.Environment, r.PID, now.Sub(r.Since).Round(time.Second))
	for _, l := range r.Listeners {
		fmt.Fprintf(&b, "listens at %s%s\n", l.Address, notes(l))
	}
	fmt.Fprintf(&b, "%d connections, %d requests\n", r.Connections, r.Requests)
	for _, c := range r.Certificates {
		fmt.Fprintf(&b, "certificate %s for %s expires %s\n", c.File, strings.Join(c.Names, ", "), c.Expires.UTC().Format(time.RFC3339))
	}
	for _, m := range r.Mounts {
		fmt.Fprintf(&b, "\n%s  %s  %s\n", m.Mount, m.Kind, m.Source)
		if m.Queued > 0 {
			fmt.Fprintf(&b, "  %d requests wait, the first for %.1f s\n", m.Queued, m.Oldest)
		}
		if m.Problem != "" {
			fmt.Fprintf(&b, "  workers cannot be started: %s\n", strings.ReplaceAll(strings.TrimSpace(m.Problem), "\n", "; "))
		}
		if len(m.Workers) > 0 {
			table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(table, "worker\tpid\tstate\tgeneration\tserved\tnow\tage\tMiB\t")
			for _, w := range m.Workers {
				fmt.Fprintf(table, "%d\t%d\t%s\t%d\t%d\t%d\t%v\t%.1f\t\n", w.ID, w.PID, w.State, w.Generation, w.Served, w.Inflight,
					now.Sub(w.Since).Round(time.Second), float64(w.Resident)/(1<<20))
			}
			table.Flush()
		}
	}
	return b.String()
}
