package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/pagi-go/pagi-bridge/internal/supervisor"
	"github.com/pagi-go/pagi-bridge/server"
)

// environment returns the environment of this process without the variables that are meant for it
// alone.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return supervisor.IsOwn(name) || name == takeoverVariable
	})
}

// forgetPrivate removes variables that are for the gateway alone from the environment of child
// processes. Process keeps the environment of the start.
func forgetPrivate() error {
	var errs []error
	for _, name := range append(supervisor.Private(), takeoverVariable) {
		errs = append(errs, os.Unsetenv(name))
	}
	return errors.Join(errs...)
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

// manager tells systemd the state of the gateway (sd_notify(3)). Without systemd it does nothing.
type manager struct {
	log      *slog.Logger
	socket   string        // the socket for messages; "": none
	watchdog time.Duration // how often systemd expects a sign of life; 0: never
}

// newManager returns a manager configured by systemd's environment variables.
func newManager(log *slog.Logger, lookup func(string) (string, bool)) manager {
	m := manager{log: log}
	m.socket, _ = lookup("NOTIFY_SOCKET")
	if pid, set := lookup("WATCHDOG_PID"); set && pid != strconv.Itoa(os.Getpid()) {
		return m // systemd watches another process
	}
	text, set := lookup("WATCHDOG_USEC")
	if !set {
		return m
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 {
		log.Warn("cannot serve the watchdog of systemd: WATCHDOG_USEC is not a number above 0", "value", text)
		return m
	}
	m.watchdog = time.Duration(usec) * time.Microsecond
	return m
}

// tellTime is how long the gateway waits for systemd to take a message.
const tellTime = time.Second

func (m manager) tell(states ...string) {
	if m.socket == "" {
		return
	}
	if err := notifySocket(m.socket, strings.Join(states, "\n")); err != nil {
		m.log.Warn("cannot notify systemd", "error", err)
	}
}

// notifySocket sends a datagram to a Unix socket.
func notifySocket(path, text string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	err = conn.SetWriteDeadline(time.Now().Add(tellTime))
	if err == nil {
		_, err = conn.Write([]byte(text))
	}
	return errors.Join(err, conn.Close())
}

func (m manager) ready()    { m.tell(daemon.SdNotifyReady) }
func (m manager) stopping() { m.tell(daemon.SdNotifyStopping) }

// reloading tells systemd that a reload begins; ready tells its end.
func (m manager) reloading() {
	m.tell(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
}

// replaced tells systemd that another process is the service's main process now.
func (m manager) replaced(pid int) { m.tell(fmt.Sprintf("MAINPID=%d", pid), daemon.SdNotifyReady) }

// keepAlive tells systemd's watchdog, if there is one, that the gateway is alive, until ctx ends.
// It sends a message each time isAlive has returned.
func (m manager) keepAlive(ctx context.Context, isAlive func()) {
	if m.watchdog == 0 {
		return
	}
	tick := time.NewTicker(m.watchdog / 2)
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
