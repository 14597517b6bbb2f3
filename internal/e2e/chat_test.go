package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// tab is a page in a browser without a window, driven by the DevTools protocol.
type tab struct {
	t    *testing.T
	conn *websocket.Conn
	last int
}

// openTab starts a browser with a page.
func openTab(t *testing.T, url string) *tab {
	t.Helper()
	chromium := testkit.Tool(t, "chromium", "chromium")
	browser := exec.CommandContext(t.Context(), chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0", "--window-size=1280,800",
		"--user-data-dir="+t.TempDir(), url)
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
	host := testkit.Await(t, address)
	page := ""
	testkit.Eventually(t, "a page of the browser", func() bool {
		_, text := testkit.Get(t, http.DefaultClient, "http://"+host+"/json/list")
		var targets []struct{ Type, URL, WebSocketDebuggerURL string }
		if err := json.Unmarshal([]byte(text), &targets); err != nil {
			t.Fatal(err)
		}
		for _, target := range targets {
			if target.Type == "page" && target.URL == url {
				page = target.WebSocketDebuggerURL
			}
		}
		return page != ""
	})
	conn, res, err := websocket.DefaultDialer.Dial(page, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	t.Cleanup(func() { conn.Close() })
	return &tab{t: t, conn: conn}
}

// call calls a method of the protocol.
func (b *tab) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.last++
	if err := b.conn.SetReadDeadline(time.Now().Add(2 * testkit.Patience)); err != nil {
		b.t.Fatal(err)
	}
	if err := b.conn.WriteJSON(map[string]any{"id": b.last, "method": method, "params": params}); err != nil {
		b.t.Fatal(err)
	}
	for {
		var answer struct {
			ID     int
			Error  *struct{ Message string }
			Result json.RawMessage
		}
		switch err := b.conn.ReadJSON(&answer); {
		case err != nil:
			b.t.Fatalf("%s: %v", method, err)
		case answer.ID != b.last: // an event
		case answer.Error != nil:
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		default:
			if err := json.Unmarshal(answer.Result, result); err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
}

// eval returns the text that an expression in the page has.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails.Text)
	}
	return fmt.Sprint(got.Result.Value)
}

// waitFor waits until an expression is true.
func (b *tab) waitFor(what, expression string) {
	b.t.Helper()
	testkit.Eventually(b.t, what, func() bool { return b.eval(expression) == "true" })
}

// say writes a message as a user does.
func (b *tab) say(text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("document.getElementById('text').value = %q; document.getElementById('say').requestSubmit()", text))
}

// hears waits for a message of another one.
func (b *tab) hears(text string) {
	b.t.Helper()
	b.waitFor(fmt.Sprintf("%q", text), fmt.Sprintf("[...document.querySelectorAll('#log li:not(.own)')].filter(l => l.textContent.endsWith(%q)).length === 1", text))
}

// shot writes a picture of the page, if PAGI_SCREENSHOTS names a directory.
func (b *tab) shot(name string, width, height int) {
	b.t.Helper()
	dir := os.Getenv("PAGI_SCREENSHOTS")
	if dir == "" {
		return
	}
	var none struct{}
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, &none)
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

// chatGateway starts a gateway with the example's chat.
func chatGateway(t *testing.T, listen, cluster, peer string) *testkit.Program {
	t.Helper()
	example, err := filepath.Abs("../../examples/23-chat/chat.yaml")
	if err != nil {
		t.Fatal(err)
	}
	site := fmt.Sprintf("listen: %q\ninclude: %q\ncluster: {listen: %q, peers: [%q]}\n", listen, example, cluster, peer)
	dir := testkit.Tree(t, map[string]string{"site.yaml": site})
	return testkit.StartAnyExit(t, testkit.Command(dir, program, "-c", "site.yaml"))
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestTwoBrowsersChat has the example 23-chat on two gateways with servers of their own, and a browser
// at each. Then a gateway is killed, and started again.
func TestTwoBrowsersChat(t *testing.T) {
	one, two := freePort(t), freePort(t)
	first, second := chatGateway(t, "127.0.0.1:0", one, two), chatGateway(t, "127.0.0.1:0", two, one)
	ann := openTab(t, first.URL+"/?name=ann")
	ann.waitFor("a room", "typeof handlers === 'object' && room === 'lobby' && document.querySelector('#state.on') !== null && document.querySelector('#users .me')?.textContent === 'ann'")
	bob := openTab(t, second.URL+"/?name=bob")
	ann.waitFor("bob", "[...document.querySelectorAll('#users li')].map(l => l.textContent).join() === 'ann,bob'")
	bob.waitFor("ann", "typeof handlers === 'object' && [...document.querySelectorAll('#users li')].map(l => l.textContent).join() === 'ann,bob'")
	ann.say("Hello from <b>ann</b> & é")
	bob.hears("Hello from <b>ann</b> & é")
	bob.say("Hello from bob")
	ann.hears("Hello from bob")
	for i := range 6 {
		ann.say(fmt.Sprintf("Line %d of a longer talk, with enough words in it that a narrow window has to break it.", i))
		bob.hears(fmt.Sprintf("Line %d of a longer talk, with enough words in it that a narrow window has to break it.", i))
	}
	bob.shot("chat-desktop", 1280, 800)
	bob.shot("chat-phone", 390, 844)

	address := first.Address()
	first.Stop(syscall.SIGKILL)
	bob.waitFor("that ann has left", "[...document.querySelectorAll('#users li')].map(l => l.textContent).join() === 'bob'")
	bob.say("While ann is away")
	ann.waitFor("a lost connection", "document.querySelector('#state.off') !== null")
	ann.shot("chat-away", 390, 844)
	chatGateway(t, address, one, two)
	ann.hears("While ann is away")
	ann.waitFor("her own message in the history", "[...document.querySelectorAll('#log li')].filter(l => l.textContent.includes('Hello from <b>ann')).length === 1")
	bob.waitFor("ann again", "[...document.querySelectorAll('#users li')].map(l => l.textContent).join() === 'bob,ann'")
	bob.say("Welcome back")
	ann.hears("Welcome back")
}
