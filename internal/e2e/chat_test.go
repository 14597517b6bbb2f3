package e2e

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/testkit/browser"
)

// chatTab is the chat's page in a browser of its own.
type chatTab struct {
	*browser.Tab
	t *testing.T
}

func openChat(t *testing.T, url string) chatTab {
	t.Helper()
	return chatTab{browser.Start(t).Open(t, url), t}
}

// say writes a message as a user does.
func (b chatTab) say(text string) {
	b.t.Helper()
	b.Eval(fmt.Sprintf("document.getElementById('text').value = %q; document.getElementById('say').requestSubmit()", text))
}

// hears waits for a message of another one.
func (b chatTab) hears(text string) {
	b.t.Helper()
	b.WaitFor(fmt.Sprintf("%q", text), fmt.Sprintf("[...document.querySelectorAll('#log li:not(.own)')].filter(l => l.textContent.endsWith(%q)).length === 1", text))
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
	ann := openChat(t, first.URL+"/?name=ann")
	ann.WaitFor("a room", "typeof handlers === 'object' && room === 'lobby' && document.querySelector('#state.on') !== null && document.querySelector('#users .me')?.textContent === 'ann'")
	bob := openChat(t, second.URL+"/?name=bob")
	ann.WaitFor("bob", "[...document.querySelectorAll('#users li')].map(l => l.textContent).join() === 'ann,bob'")
	bob.WaitFor("ann", "typeof handlers === 'object' && [...document.querySelectorAll('#users li')].map(l => l.textContent).join() === 'ann,bob'")
	ann.say("Hello from <b>ann</b> & é")
	bob.hears("Hello from <b>ann</b> & é")
	bob.say("Hello from bob")
	ann.hears("Hello from bob")
	for i := range 6 {
		ann.say(fmt.Sprintf("Line %d of a longer talk, with enough words in it that a narrow window has to break it.", i))
		bob.hears(fmt.Sprintf("Line %d of a longer talk, with enough words in it that a narrow window has to break it.", i))
	}
	bob.Size(1280, 800)
	bob.Shot("chat-desktop")
	bob.Size(390, 844)
	bob.Shot("chat-phone")

	address := first.Address()
	first.Stop(syscall.SIGKILL)
	bob.WaitFor("that ann has left", "[...document.querySelectorAll('#users li')].map(l => l.textContent).join() === 'bob'")
	bob.say("While ann is away")
	ann.WaitFor("a lost connection", "document.querySelector('#state.off') !== null")
	ann.Size(390, 844)
	ann.Shot("chat-away")
	chatGateway(t, address, one, two)
	ann.hears("While ann is away")
	ann.WaitFor("her own message in the history", "[...document.querySelectorAll('#log li')].filter(l => l.textContent.includes('Hello from <b>ann')).length === 1")
	bob.WaitFor("ann again", "[...document.querySelectorAll('#users li')].map(l => l.textContent).join() === 'bob,ann'")
	bob.say("Welcome back")
	ann.hears("Welcome back")
}
