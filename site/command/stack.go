package command

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/hung"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// stackOrder tells where the processes of all mounts are, or those of one, as far as the kernel tells it. It sends them nothing:
// decision 40 says why.
func (g *gateway) stackOrder(_ context.Context, q url.Values) (string, error) {
	mount, pid := q.Get("mount"), 0
	if text := q.Get("pid"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return "", fmt.Errorf("%q is no number of a process", text)
		}
		pid = n
	}
	var b strings.Builder
	known, mounts := false, g.report().Mounts
	now := time.Now()
	for _, m := range mounts {
		if mount != "" && m.Mount != mount {
			continue
		}
		known = true
		if m.Backend == nil {
			continue
		}
		for i := range m.Workers {
			if w := &m.Workers[i]; w.PID != 0 && (pid == 0 || pid == w.PID) {
				fmt.Fprintf(&b, "%s  worker %d, process %d, %s%s\n", m.Mount, w.ID, w.PID, w.State, doing(w.Request, now))
				writeKernel(&b, hung.Look(w.PID))
			}
		}
		for i := range m.Scripts {
			if one := &m.Scripts[i]; one.PID != 0 && (pid == 0 || pid == one.PID) {
				fmt.Fprintf(&b, "%s  script %s, process %d, %s%s\n", m.Mount, printable(one.Script), one.PID, one.Mode, doing(one.Request, now))
				writeKernel(&b, hung.Look(one.PID))
			}
		}
	}
	switch {
	case !known && mount != "":
		return "", fmt.Errorf("there is no mount %s", mount)
	case b.Len() == 0 && pid != 0:
		return "", fmt.Errorf("no worker and no script has the process number %d", pid)
	case b.Len() == 0:
		return "no worker and no script runs", nil
	}
	return strings.TrimRight(b.String(), "\n"), nil
}

// doing says which request a process works on, and for how long.
func doing(r *status.Request, now time.Time) string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf(", for %v: %s", max(0, now.Sub(r.Since)).Round(time.Millisecond), strings.TrimSpace(requestText(r)))
}

// writeKernel writes what the kernel tells of a process.
func writeKernel(b *strings.Builder, k *status.Kernel) {
	if k == nil {
		b.WriteString("  the system does not tell where it is\n")
		return
	}
	fmt.Fprintf(b, "  state    %s\n", k.State)
	if k.Syscall != "" {
		fmt.Fprintf(b, "  syscall  %s\n", k.Syscall)
	}
	if k.Wchan != "" {
		fmt.Fprintf(b, "  waits in %s\n", k.Wchan)
	}
	if len(k.Stack) > 0 {
		fmt.Fprintf(b, "  kernel   %s\n", strings.Join(k.Stack, " < "))
	}
}
