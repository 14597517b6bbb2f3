package command_test

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestMetricsListen(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	socket := filepath.Join(dir, "run", "metrics")
	address := freeAddress(t)
	for place, client := range map[string]*http.Client{address: http.DefaultClient, socket: testkit.OverUnix(t, socket), "unix:" + socket: testkit.OverUnix(t, socket)} {
		t.Run(place, func(t *testing.T) {
			g := start(t, dir, "-p", "0", "--metrics-listen", place, ".")
			g.get("/f.txt")
			url := "http://" + address + "/any"
			g.Eventually("the request is counted", func() bool {
				status, body := fetch(t, client, url)
				return status == 200 && strings.Contains(body, `pagi_bridge_requests_total{method="GET",mount="/",status="2xx"} 1`)
			})
			if res, _ := testkit.Do(t, client, testkit.NewRequest(t, "POST", url, nil)); res.StatusCode != 405 {
				t.Errorf("POST: %s", res.Status)
			}
			if place == address {
				if code, _, stderr := once(t, dir, "-p", "0", "--metrics-listen", place, "."); code != 1 || !strings.Contains(stderr, "metrics_listen: ") {
					t.Errorf("a second gateway: %d %q", code, stderr)
				}
			}
		})
	}
	for _, place := range []string{"run/metrics", "9100", "127.0.0.1:http2"} {
		if code, _, stderr := once(t, dir, "-p", "0", "--metrics-listen", place, "."); code != 2 || !strings.Contains(stderr, "absolute path of a Unix socket") {
			t.Errorf("%s: %d %q", place, code, stderr)
		}
	}
}

// At a hot restart the new process takes the address when the old one has left it.
func TestMetricsListenIsHandedOver(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	address := freeAddress(t)
	g := &gateway{testkit.StartAnyExit(t, testkit.Command(dir, program, "-p", "0", "--metrics-listen", address, ".")), t}
	g.get("/f.txt")
	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`the new process serves.* pid=(\d+)`)
	g.Eventually("the restart", func() bool { return words.MatchString(g.Log.String()) })
	next, err := strconv.Atoi(words.FindStringSubmatch(g.Log.String())[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(next, syscall.SIGKILL) }) // mostly it has ended
	if code := g.Wait(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	testkit.Eventually(t, "the new process to answer", func() bool {
		res, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		body, err := io.ReadAll(res.Body)
		return errors.Join(err, res.Body.Close()) == nil && !strings.Contains(string(body), `mount="/",status="2xx"`)
	})
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.NoneLeft(t, dir)
}
