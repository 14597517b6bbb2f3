package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/site"
)

// ask is a reload that somebody waits for.
type ask struct {
	mount string // "": all of the site
	done  chan error
}

// control is what can be asked for at the status socket: the status by GET, and orders by POST. An order answers with what has
// become of it, in words.
func (g *gateway) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(g.report()) // who asks sees where it breaks off
	})
	for name, order := range map[string]func(context.Context, url.Values) (string, error){
		"reload": g.reloadOrder, "scale": g.scaleOrder, "log-level": g.levelOrder, "reopen": g.reopenOrder,
		"run-job": g.runJobOrder, "drain": g.drainOrder, "stack": g.stackOrder,
	} {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // a reload takes what it takes
			became, err := order(r.Context(), r.URL.Query())
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			if err != nil {
				w.WriteHeader(http.StatusConflict)
				became = err.Error()
			}
			_, _ = io.WriteString(w, became+"\n") // who asks sees where it breaks off
		})
	}
	return mux
}

// reloadOrder reads the site file again and loads the applications anew, or those of one mount.
func (g *gateway) reloadOrder(ctx context.Context, q url.Values) (string, error) {
	began, a := time.Now(), ask{mount: q.Get("mount"), done: make(chan error, 1)}
	select {
	case g.asks <- a:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	select {
	case err := <-a.done:
		return fmt.Sprintf("reloaded in %v", time.Since(began).Round(time.Millisecond)), err
	case <-ctx.Done(): // the reload goes on
		return "", context.Cause(ctx)
	}
}

func (g *gateway) scaleOrder(_ context.Context, q url.Values) (string, error) {
	n, err := strconv.Atoi(q.Get("workers"))
	if err != nil {
		return "", fmt.Errorf("%q is no number of workers", q.Get("workers"))
	}
	mount := q.Get("mount")
	now, err := g.current().Scale(mount, n)
	if err != nil {
		return "", err
	}
	g.logs.logger.Info("the number of workers has changed", "mount", mount, "workers", now)
	if now == 1 {
		return mount + " has 1 worker", nil
	}
	return fmt.Sprintf("%s has %d workers", mount, now), nil
}

// levelOrder sets the level of the log until the next reload of another site file.
func (g *gateway) levelOrder(_ context.Context, q url.Values) (string, error) {
	var level slog.Level
	name := q.Get("level")
	if err := level.UnmarshalText([]byte(name)); err != nil || !slices.Contains(logLevels, strings.ToLower(name)) {
		return "", fmt.Errorf("%q is no level: %s", name, strings.Join(logLevels, ", "))
	}
	g.logs.level.Set(level)
	return "the log has the level " + strings.ToLower(name), nil
}

var logLevels = []string{"debug", "info", "warn", "error"}

func (g *gateway) reopenOrder(context.Context, url.Values) (string, error) {
	g.logs.reopen()
	return "the log files are opened again", nil
}

// orders are the commands that steer a running gateway, by their names.
var orders = map[string]struct {
	arguments string // for the usage
	does      string
	query     func(args []string) (url.Values, error)
	// numbers are flags, by the names that they have in the query, with their help.
	numbers map[string]string
}{
	"stack": {arguments: "[MOUNT]", does: "Print where the processes of all mounts are, or those of one mount, without disturbing them.", query: func(args []string) (url.Values, error) {
		if len(args) > 1 {
			return nil, fmt.Errorf("unexpected argument %q", args[1])
		}
		return url.Values{"mount": args}, nil
	}, numbers: map[string]string{"pid": "only the process with the number `N`"}},
	"reload": {arguments: "[MOUNT]", does: "Read the site file again and load the applications anew, or those of one mount.", query: func(args []string) (url.Values, error) {
		if len(args) > 1 {
			return nil, fmt.Errorf("unexpected argument %q", args[1])
		}
		return url.Values{"mount": args}, nil
	}},
	"scale": {arguments: "MOUNT N", does: "Give a mount N workers, until the site file is changed.", query: func(args []string) (url.Values, error) {
		if len(args) != 2 {
			return nil, errors.New("give the name of a mount, and a number of workers")
		}
		return url.Values{"mount": args[:1], "workers": args[1:]}, nil
	}},
	"log-level": {arguments: "LEVEL", does: "Set the level of the log to debug, info, warn or error, until the site file is changed.", query: func(args []string) (url.Values, error) {
		if len(args) != 1 {
			return nil, errors.New("give a level: " + strings.Join(logLevels, ", "))
		}
		return url.Values{"level": args}, nil
	}},
	"run-job": {arguments: "JOB", does: "Run a job of the site's cron now.", query: func(args []string) (url.Values, error) {
		if len(args) != 1 {
			return nil, errors.New("give the name of a job")
		}
		return url.Values{"job": args}, nil
	}},
	"reopen": {arguments: "", does: "Open the log files again, after a program has renamed them.", query: func(args []string) (url.Values, error) {
		if len(args) > 0 {
			return nil, fmt.Errorf("unexpected argument %q", args[0])
		}
		return nil, nil
	}},
}

// orderCommand is one of the commands that steer a running gateway.
func orderCommand(name string) *command {
	c := newCommand(name, orders[name].arguments, orders[name].does)
	find := socketFlags(c.flags)
	for name, does := range orders[name].numbers {
		c.flags.Uint32(name, 0, does)
	}
	c.run = func(ctx context.Context, p Process) int { return giveOrder(ctx, name, c.flags, find, p) }
	return c
}

func giveOrder(ctx context.Context, name string, flags *pflag.FlagSet, find func() (string, error), p Process) int {
	order := orders[name]
	query, err := order.query(flags.Args())
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	for name := range order.numbers {
		if f := flags.Lookup(name); f.Changed {
			query.Set(name, f.Value.String())
		}
	}
	socket, err := find()
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	text, err := askGateway(ctx, socket, http.MethodPost, name, query)
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	return say(p, text)
}

// socketFlags adds the flags that name a status socket. find returns its path once they are parsed.
func socketFlags(flags *pflag.FlagSet) (find func() (string, error)) {
	socket := flags.String("status-socket", "", "ask the gateway whose status socket is `PATH`")
	config := flags.StringP("config", "c", "", "read the path of the status socket from the site `FILE`")
	return func() (string, error) {
		if *socket == "" && *config != "" {
			s, err := site.Load(*config)
			if err != nil {
				return "", err
			}
			*socket = s.Settings.StatusSocket
		}
		if *socket == "" {
			return "", errors.New("give --status-socket PATH, or -c FILE for a site file with status_socket")
		}
		return *socket, nil
	}
}

// askGateway returns the answer of a gateway at its status socket. A refusal is an error.
func askGateway(ctx context.Context, socket, method, name string, query url.Values) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	u := url.URL{Scheme: "http", Host: "gateway", Path: "/" + name, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("no gateway answers: %w", err)
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	return string(text), err
}
