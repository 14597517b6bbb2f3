// Package browser drives pages in a browser without a window, by the DevTools protocol. It is for tests of
// pages; a test is skipped where Chromium is missing.
package browser

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Screenshots is the environment variable that names the directory for the pictures of Tab.Shot.
const Screenshots = "PAGI_SCREENSHOTS"

// Browser is a running browser. It ends with its test.
type Browser struct{ host string }

// Start starts a browser, or skips the test where there is none.
func Start(t testing.TB) *Browser {
	t.Helper()
	chromium := testkit.Tool(t, "chromium", "chromium")
	browser := exec.CommandContext(t.Context(), chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0", "--window-size=1280,800",
		"--user-data-dir="+t.TempDir(), "about:blank")
	stderr, err := browser.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = browser.Process.Kill() // it has no other end
		<-ended
		_ = browser.Wait()
	})
	address := make(chan string, 1)
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if _, rest, ok := strings.Cut(lines.Text(), "DevTools listening on ws://"); ok {
				host, _, _ := strings.Cut(rest, "/")
				address <- host
			}
		}
	}()
	return &Browser{host: testkit.Await(t, address)}
}

// Open opens a page in a tab of its own.
func (b *Browser) Open(t testing.TB, page string) *Tab {
	t.Helper()
	_, text := testkit.Do(t, http.DefaultClient, testkit.NewRequest(t, http.MethodPut, "http://"+b.host+"/json/new?about:blank", nil))
	var target struct{ WebSocketDebuggerURL string }
	if err := json.Unmarshal([]byte(text), &target); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	conn, res, err := websocket.DefaultDialer.Dial(target.WebSocketDebuggerURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	t.Cleanup(func() { conn.Close() })
	tab := &Tab{t: t, conn: conn}
	var went struct{ ErrorText string }
	tab.call("Page.navigate", map[string]any{"url": page}, &went)
	if went.ErrorText != "" {
		t.Fatalf("%s: %s", page, went.ErrorText)
	}
	tab.WaitFor("the page "+page, "document.readyState === 'complete'")
	return tab
}

// Tab is a page in a browser.
type Tab struct {
	t    testing.TB
	conn *websocket.Conn
	last int
	told []string // what Console returns
}

// call calls a method of the protocol.
func (b *Tab) call(method string, params map[string]any, result any) {
	b.t.Helper()
	if err := b.try(method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

// refusal is the browser's answer to a call that it cannot carry out.
type refusal struct{ method, message string }

func (r *refusal) Error() string { return r.method + ": " + r.message }

// try is call for a method that the browser may refuse: the error is a *refusal then.
func (b *Tab) try(method string, params map[string]any, result any) error {
	b.t.Helper()
	b.last++
	if err := b.conn.SetReadDeadline(time.Now().Add(2 * testkit.Patience)); err != nil {
		return err
	}
	if err := b.conn.WriteJSON(map[string]any{"id": b.last, "method": method, "params": params}); err != nil {
		return err
	}
	for {
		var answer struct {
			event
			ID     int
			Error  *struct{ Message string }
			Result json.RawMessage
		}
		switch err := b.conn.ReadJSON(&answer); {
		case err != nil:
			return fmt.Errorf("%s: %w", method, err)
		case answer.ID != b.last:
			b.note(&answer.event)
		case answer.Error != nil:
			return &refusal{method, answer.Error.Message}
		default:
			return json.Unmarshal(answer.Result, result)
		}
	}
}

// event is what the browser tells without being asked.
type event struct {
	Method string
	Params struct {
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
}

func (b *Tab) note(e *event) {
	switch p := &e.Params; e.Method {
	case "Log.entryAdded":
		b.told = append(b.told, strings.TrimSpace(p.Entry.Level+": "+p.Entry.Text+" "+p.Entry.URL))
	case "Runtime.exceptionThrown":
		b.told = append(b.told, p.ExceptionDetails.Text+" "+p.ExceptionDetails.Exception.Description)
	}
}

// Console returns what the browser has said of the page so far: files that were not found, violations of its policy, exceptions.
func (b *Tab) Console() []string {
	b.t.Helper()
	var none struct{}
	b.call("Log.enable", map[string]any{}, &none)
	b.call("Runtime.enable", map[string]any{}, &none)
	b.Eval("1") // behind what the two calls have caused
	return b.told
}

// Dark has the page see that the user prefers dark colours, or light ones.
func (b *Tab) Dark(dark bool) {
	b.t.Helper()
	value := "light"
	if dark {
		value = "dark"
	}
	var none struct{}
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": value}}}, &none)
}

// Eval returns the text that an expression in the page has. An expression that leads to another page must do so
// later, by setTimeout.
func (b *Tab) Eval(expression string) string {
	b.t.Helper()
	value, err := b.evaluate(expression)
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (b *Tab) evaluate(expression string) (string, error) {
	b.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if err := b.try("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true}, &got); err != nil {
		return "", err
	}
	if e := got.ExceptionDetails; e != nil {
		return "", fmt.Errorf("%s %s", e.Text, e.Exception.Description)
	}
	return fmt.Sprint(got.Result.Value), nil
}

// WaitFor waits until an expression is true, also on a page that comes after the present one. what completes the
// sentence "waited in vain for".
func (b *Tab) WaitFor(what, expression string) {
	b.t.Helper()
	testkit.Eventually(b.t, what, func() bool {
		value, err := b.evaluate(expression)
		var between *refusal // two pages
		if err != nil && !errors.As(err, &between) {
			b.t.Fatalf("%s: %v", expression, err)
		}
		return value == "true"
	})
}

// Size gives the page a size in pixels. One that is narrower than 600 is that of a phone.
func (b *Tab) Size(width, height int) {
	b.t.Helper()
	var none struct{}
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, &none)
}

// Shot writes a picture of the page, if the environment variable Screenshots names a directory.
func (b *Tab) Shot(name string) {
	b.t.Helper()
	dir := os.Getenv(Screenshots)
	if dir == "" {
		return
	}
	var none struct{}
	b.call("Page.bringToFront", map[string]any{}, &none) // a hidden page is drawn late
	var picture struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
