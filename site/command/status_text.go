package command

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/terminal"
)

// statusText is the status for people.
func statusText(g *status.Gateway, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pagi-bridge %s (%s), process %d, for %v\n", g.Version, g.Environment, g.PID, now.Sub(g.Since).Round(time.Second))
	if !g.Draining.IsZero() {
		fmt.Fprintf(&b, "is being drained, stops in %v\n", max(0, g.Stops.Sub(now)).Round(time.Second))
	}
	for _, l := range g.Listeners {
		fmt.Fprintf(&b, "listens at %s%s\n", l.Address, notes(l))
	}
	fmt.Fprintf(&b, "%d connections, %d requests\n", g.Connections, g.Requests)
	t := g.Traffic
	fmt.Fprintf(&b, "since the start: connections: %d (refused: %d), requests: %d (refused: %d)\n",
		t.Connections, t.ConnectionsRefused, t.Requests, t.RequestsRefused)
	for _, c := range g.Certificates {
		b.WriteString(certificateText(&c) + "\n")
	}
	for _, a := range g.Adapters {
		fmt.Fprintf(&b, "adapter %s, process %d, user %d: %s\n", a.Name, a.PID, a.UID, strings.Join(a.Mounts, ", "))
	}
	for _, l := range g.Logs {
		fmt.Fprintf(&b, "%s has lost %d lines", l.Log, l.Lost)
		if l.Problem != "" {
			fmt.Fprintf(&b, " and loses more: %s", l.Problem)
		}
		b.WriteByte('\n')
	}
	for _, m := range g.Mounts {
		fmt.Fprintf(&b, "\n%s  %s  %s\n", m.Mount, m.Kind, m.Source)
		if !m.Draining.IsZero() {
			fmt.Fprintf(&b, "  drained for %v: new requests get 503\n", now.Sub(m.Draining).Round(time.Second))
		}
		if m.Backend != nil {
			writeBackend(&b, m.Backend, now)
		}
	}
	writeServices(&b, g.Services, now)
	writeJobs(&b, g.Cron, now)
	return b.String()
}

// writeServices tells of the programs beside the site.
func writeServices(b *strings.Builder, all []status.Service, now time.Time) {
	if len(all) > 0 {
		b.WriteString("\nservices\n")
	}
	table(b, len(all), "state\tpid\trunning for\trestarts\tstarts in\t  service", func(w io.Writer, i int) {
		one := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t  %s%s\n", one.State, dash(one.PID != 0, one.PID), between(one.Since, now), one.Restarts,
			between(now, one.NextStart), printable(one.Service), lastExit(one.LastExit))
	})
}

// writeJobs tells of the jobs of cron.
func writeJobs(b *strings.Builder, all []status.Job, now time.Time) {
	if len(all) > 0 {
		b.WriteString("\ncron\n")
	}
	table(b, len(all), "pid\trunning for\tnext in\truns\tfailed\tskipped\tlast run\ttook\t  job", func(w io.Writer, i int) {
		one := &all[i]
		last, took := "-", "-"
		if !one.LastRun.IsZero() {
			last, took = between(one.LastRun, now)+" ago", fmt.Sprintf("%.1f s", time.Duration(one.LastSeconds).Seconds())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t  %s (%s)%s\n", dash(one.PID != 0, one.PID), between(one.Since, now), between(now, one.Next),
			one.Runs, one.Failures, one.Skipped, last, took, printable(one.Job), printable(one.Schedule), lastExit(one.LastExit))
	})
}

// between is the time from one moment to another, "-" where there is no such moment.
func between(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "-"
	}
	return max(0, to.Sub(from)).Round(time.Second).String()
}

// lastExit says how a process has ended last.
func lastExit(how string) string {
	if how == "" {
		return ""
	}
	return ", last end: " + printable(how)
}

// certificateText describes a certificate.
func certificateText(c *status.Certificate) string {
	if c.Expires.IsZero() {
		return fmt.Sprintf("no certificate by ACME for %s yet", c.Domain)
	}
	from := c.File
	if from == "" {
		from = "by ACME"
	}
	return fmt.Sprintf("certificate %s for %s expires %s", from, strings.Join(c.Names, ", "), c.Expires.UTC().Format(time.RFC3339))
}

// notes says what is special about a listener.
func notes(l status.Listener) (text string) {
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

// writeBackend tells of the processes of a mount.
func writeBackend(b *strings.Builder, p *status.Backend, now time.Time) {
	writeTotals(b, &p.Totals)
	switch {
	case p.Queued > 0 && p.Oldest > 0:
		fmt.Fprintf(b, "  %d requests wait, the first for %.1f s\n", p.Queued, time.Duration(p.Oldest).Seconds())
	case p.Queued > 0:
		fmt.Fprintf(b, "  %d requests wait\n", p.Queued)
	}
	if p.Problem != "" {
		fmt.Fprintf(b, "  workers cannot be started: %s\n", strings.ReplaceAll(strings.TrimSpace(p.Problem), "\n", "; "))
	}
	table(b, len(p.Workers), "worker\tpid\tstate\tgeneration\tserved\tin hand\tage\tmemory\trunning for\t  request", func(w io.Writer, i int) {
		one := &p.Workers[i]
		running, request := "-", ""
		if r := one.Request; r != nil {
			running, request = since(r.Since, now), requestText(r)
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%d\t%d\t%v\t%.1f MiB\t%s\t%s\n", one.ID, one.PID, one.State, one.Generation, one.Served, one.Inflight,
			now.Sub(one.Since).Round(time.Second), float64(one.Resident)/(1<<20), running, request)
	})
	table(b, len(p.Zygotes), "zygote\tpid\tstate\tworkers\tage\t", func(w io.Writer, i int) {
		one := &p.Zygotes[i]
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%v\t\n", one.ID, one.PID, one.State, one.Children, now.Sub(one.Since).Round(time.Second))
	})
	table(b, len(p.Scripts), "pid\trun by\trunning for\t  request, script", func(w io.Writer, i int) {
		one := &p.Scripts[i]
		request := "  its answer is complete"
		if one.Request != nil {
			request = requestText(one.Request)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s, %s\n", one.PID, one.Mode, since(one.Since, now), request, printable(one.Script))
	})
	table(b, len(p.Compiled), "state\tpid\tprocesses\tidle\trequests\tlast asked for\t  script", func(w io.Writer, i int) {
		one := &p.Compiled[i]
		reason := ""
		if one.Reason != "" {
			reason = ": " + printable(one.Reason)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%v ago\t  %s%s\n", one.State, dash(one.PID != 0, one.PID), dash(one.Persistent, one.Processes),
			dash(one.PID != 0, one.Idle), one.Requests, now.Sub(one.Used).Round(time.Second), printable(one.Script), reason)
	})
	table(b, len(p.Upstreams), "state\tsent\tfailed\tin hand\t  upstream", func(w io.Writer, i int) {
		one := &p.Upstreams[i]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t  %s\n", one.State, one.Sent, one.Failed, one.Inflight, printable(one.Address))
	})
}

// table writes n lines under a title. The columns are aligned to the right; what follows the last
// tab of a line is no column.
func table(b *strings.Builder, n int, title string, line func(w io.Writer, i int)) {
	if n == 0 {
		return
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, title)
	for i := range n {
		line(w, i)
	}
	_ = w.Flush() // a Builder takes everything
}

// writeTotals tells what was counted since the mount was started. It leaves out what has not
// happened.
func writeTotals(b *strings.Builder, t *status.Totals) {
	fmt.Fprintf(b, "  requests: %d", t.Requests)
	e := &t.Errors
	if failed := counts("application", e.Application, "invalid answer", e.Invalid, "process died", e.Died, "timed out", e.TimedOut,
		"limit", e.Limit, "queue full", e.QueueFull, "queue timeout", e.QueueTimeout, "no process", e.Unavailable, "request refused", e.Refused); failed != "" {
		fmt.Fprintf(b, ", failed: %d (%s)", e.Sum(), failed)
	}
	if t.Waits > 0 {
		fmt.Fprintf(b, ", waits in the queue: %d (%.1f s in all)", t.Waits, time.Duration(t.Waited).Seconds())
	}
	b.WriteByte('\n')
	r := &t.Restarts
	if replaced := counts("died", r.Died, "ended by itself", r.Exited, "timed out", r.TimedOut, "max_requests", r.MaxRequests,
		"max_age", r.MaxAge, "max_rss", r.MaxRSS, "reload", r.Reload); replaced != "" {
		fmt.Fprintf(b, "  workers replaced: %d (%s)", r.Sum(), replaced)
		if t.LastRestart != nil {
			fmt.Fprintf(b, ", the last one for %s at %s", t.LastRestart.Cause, t.LastRestart.At.UTC().Format(time.RFC3339))
		}
		b.WriteByte('\n')
	}
	if t.FailedStarts > 0 {
		fmt.Fprintf(b, "  starts of workers that failed: %d\n", t.FailedStarts)
	}
}

// counts joins names and the numbers behind them that are not 0.
func counts(pairs ...any) string {
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		if n := pairs[i+1].(int64); n != 0 {
			parts = append(parts, fmt.Sprintf("%v: %d", pairs[i], n))
		}
	}
	return strings.Join(parts, ", ")
}

// dash returns "-" where there is no number to be told.
func dash(has bool, n int) string {
	if !has {
		return "-"
	}
	return strconv.Itoa(n)
}

// since is how long ago a request began.
func since(begin, now time.Time) string {
	return fmt.Sprintf("%.1f s", max(now.Sub(begin), 0).Seconds())
}

// requestText names a request.
func requestText(r *status.Request) string {
	text := "  " + printable(r.Method+" "+r.Path)
	if r.ID != "" {
		text += " (id " + printable(r.ID) + ")"
	}
	if r.ClientLeft {
		text += ", the client has left"
	}
	return text
}

// mostShown is how many characters of a path, an id or the name of a script are shown.
const mostShown = 100

// printable returns s cut to mostShown characters, with what could move the cursor of a terminal or
// hide text written as in Go.
func printable(s string) string {
	if cut := []rune(s); len(cut) > mostShown {
		s = string(cut[:mostShown]) + "..."
	}
	return terminal.Safe(s)
}
