package command

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/pagi-go/pagi-bridge/server"
)

// ownVariables are meant for this process alone.
var ownVariables = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", takeoverVariable}

// environment is that of this process without what is meant for it alone.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(ownVariables, name)
	})
}

// systemdSockets returns the sockets systemd has passed to this process
// (sd_listen_fds(3)).
func systemdSockets() []server.Socket {
	var sockets []server.Socket
	for _, f := range activation.Files(true) {
		sockets = append(sockets, server.Socket{Name: f.Name(), File: f})
	}
	return sockets
}

// manager tells systemd what state the gateway is in (sd_notify(3)). Without systemd
// there is nobody to tell.
type manager struct{ log *slog.Logger }

func (m manager) tell(states ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(states, "\n")); err != nil {
		m.log.Warn("cannot notify systemd", "error", err)
	}
}

func (m manager) ready()    { m.tell(daemon.SdNotifyReady) }
func (m manager) stopping() { m.tell(daemon.SdNotifyStopping) }

// reloading is said before a reload, ready after it.
func (m manager) reloading() {
	m.tell(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
}

// replaced says that another process is the service's main one now.
func (m manager) replaced(pid int) { m.tell(fmt.Sprintf("MAINPID=%d", pid), daemon.SdNotifyReady) }

// keepAlive tells systemd's watchdog, where there is one, that the gateway is alive as
// long as isAlive returns, until ctx ends.
func (m manager) keepAlive(ctx context.Context, isAlive func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("systemd's watchdog cannot be served", "error", err)
	}
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			isAlive()
			m.tell(daemon.SdNotifyWatchdog)
		case <-ctx.Done():
			return
		}
	}
}
