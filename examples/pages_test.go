package examples

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/10-chat-showcase/chat"
	"github.com/pagi-go/pagi-bridge/examples/11-job-runner/jobs"
	"github.com/pagi-go/pagi-bridge/examples/12-utf8/utf8page"
	"github.com/pagi-go/pagi-bridge/examples/13-contact-form/contact"
	"github.com/pagi-go/pagi-bridge/examples/background-tasks/tasks"
	"github.com/pagi-go/pagi-bridge/examples/endpoint-demo/demo"
	"github.com/pagi-go/pagi-bridge/examples/endpoint-router-demo/site"
	"github.com/pagi-go/pagi-bridge/examples/sse-close/progress"
	"github.com/pagi-go/pagi-bridge/examples/sse-dashboard/dashboard"
	"github.com/pagi-go/pagi-bridge/internal/testkit/browser"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// TestPages uses the pages of the examples as a visitor does, all in one browser. With PAGI_SCREENSHOTS it writes
// pictures of them.
func TestPages(t *testing.T) {
	once(t)
	b := browser.Start(t)
	for _, c := range []struct {
		name  string
		app   pagi.App
		visit func(t *testing.T, b *browser.Browser, url string)
	}{
		{"chat", chat.New(time.Hour), visitChat},
		{"jobs", jobs.New(3, 20*time.Millisecond), visitJobs},
		{"utf8", utf8page.New(), visitUTF8},
		{"contact", contact.New(filepath.Join(t.TempDir(), "uploads")), visitContact},
		{"tasks", tasks.New(soon, func(string, ...any) {}), visitTasks},
		{"endpoints", demo.New(), visitEndpoints},
		{"router", site.New(20 * time.Millisecond), visitRouter},
		{"close", progress.New(soon), visitProgress},
		{"dashboard", dashboard.New(20 * time.Millisecond), visitDashboard},
	} {
		t.Run(c.name, func(t *testing.T) { c.visit(t, b, serve(t, c.app)) })
	}
}

// shoot takes pictures in the sizes of a desktop and of a phone, and checks that nothing is wider than the page.
func shoot(t *testing.T, tab *browser.Tab, name string) {
	t.Helper()
	for _, size := range []struct {
		name          string
		width, height int
	}{{"desktop", 1280, 800}, {"phone", 390, 844}} {
		tab.Size(size.width, size.height)
		if wide := tab.Eval("document.documentElement.scrollWidth > innerWidth"); wide != "false" {
			t.Errorf("the page is wider than %d pixels", size.width)
		}
		tab.Shot(name + "-" + size.name)
	}
}

const helpers = `
	window.texts = selector => [...document.querySelectorAll(selector)].map(e => e.textContent)
	window.fill = (form, values) => {
		for (const [name, value] of Object.entries(values)) document.querySelector(form).elements[name].value = value
		document.querySelector(form).requestSubmit()
	}`

// open opens a page and gives it the functions texts and fill.
func open(t *testing.T, b *browser.Browser, url string) *browser.Tab {
	t.Helper()
	tab := b.Open(t, url)
	tab.Eval(helpers)
	return tab
}

func visitChat(t *testing.T, b *browser.Browser, url string) {
	ann, bob := open(t, b, url+"/"), open(t, b, url+"/")
	enter := func(tab *browser.Tab, name string) {
		tab.Eval(`fill('#enter', {name: '` + name + `'})`)
		tab.WaitFor("the room", `texts('#rooms button').join() === '#general' && texts('#users .me').join() === '`+name+`'`)
	}
	enter(ann, "ann")
	enter(bob, "bob")
	ann.WaitFor("bob", `texts('#users li').join() === 'ann,bob'`)
	ann.Eval(`fill('#say', {text: 'Hello <b>bob</b>'})`)
	bob.WaitFor("the message", `texts('#lines .message').join() === 'annHello <b>bob</b>'`)
	bob.Eval(`fill('#say', {text: 'Here is a longer message, which a narrow window has to break into several lines.'})`)
	bob.Eval(`fill('#say', {text: '/pm ann Between us'})`)
	ann.WaitFor("the private message", `texts('#lines .pm').join() === 'bob (to you)Between us'`)
	bob.Eval(`fill('#join', {room: 'tea'})`)
	bob.WaitFor("the new room", `texts('#rooms button').join() === '#general,#tea' && texts('#room').join() === 'tea'`)
	shoot(t, ann, "chat")
	bob.Eval(`socket.close()`)
	bob.WaitFor("the same session on another connection", `socket.readyState === 1 && document.querySelector('#state.on') !== null`)
	ann.Eval(`fill('#say', {text: 'Are you back?'})`)
	bob.Eval(`document.querySelector('#rooms button').click()`)
	bob.WaitFor("the message after the break", `texts('#lines .message').at(-1) === 'annAre you back?'`)
	shoot(t, bob, "chat-bob")
}

func visitJobs(t *testing.T, b *browser.Browser, url string) {
	tab := open(t, b, url+"/")
	tab.WaitFor("the kinds of jobs", `document.querySelectorAll('#create option').length === 4`)
	tab.Eval(`document.querySelector('#create').job_type.value = 'echo'; document.querySelector('#create').job_type.onchange()`)
	tab.Eval(`fill('#create', {message: 'from <i>Chromium</i>', delay: 1})`)
	tab.WaitFor("the result", `texts('#jobs [data-status=completed] div:last-child').join() === 'from <i>Chromium</i>'`)
	tab.Eval(`document.querySelector('#create').job_type.value = 'countdown'; document.querySelector('#create').job_type.onchange()`)
	tab.Eval(`fill('#create', {seconds: 60})`)
	tab.WaitFor("progress", `[...document.querySelectorAll('#jobs [data-status=running] progress')].some(p => p.value > 0)`)
	shoot(t, tab, "jobs")
	tab.Eval(`document.querySelector('#jobs [data-status=running] button').click()`)
	tab.WaitFor("the end of the job", `document.querySelectorAll('#jobs [data-status=cancelled]').length === 1`)
	tab.Eval(`document.querySelector('#clear').click()`)
	tab.WaitFor("an empty list", `document.querySelectorAll('#jobs li').length === 0`)
}

func visitUTF8(t *testing.T, b *browser.Browser, url string) {
	tab := open(t, b, url+"/")
	tab.Eval(`setTimeout(() => document.querySelector('form[method=post]').submit())`)
	tab.WaitFor("the text of the form", `document.querySelector('#echo .number')?.textContent === 'λ 🔥 中文 ♥ café'`)
	shoot(t, tab, "utf8")
	for _, text := range []string{"λ", "🔥", "中文", "♥", "café"} {
		path := open(t, b, url+"/")
		path.Eval(`setTimeout(() => [...document.links].find(a => a.textContent === '` + text + `').click())`)
		path.WaitFor("the text of the path", `document.querySelector('#echo .number')?.textContent === '`+text+`'`)
	}
}

func visitContact(t *testing.T, b *browser.Browser, url string) {
	tab := open(t, b, url+"/")
	tab.Eval(`fill('#contact', {name: 'Ann'})`)
	tab.WaitFor("the mistakes", `texts('#answer li').length === 3`)
	shoot(t, tab, "contact-wrong")
	tab.Eval(`{ const files = new DataTransfer(); files.items.add(new File(['hello'], 'a.txt', {type: 'text/plain'})); document.querySelector('#contact').attachment.files = files.files }`)
	tab.Eval(`fill('#contact', {email: 'ann@example.org', message: 'Hello <b>there</b>'})`)
	tab.WaitFor("the answer", `texts('#answer li').includes('message: Hello <b>there</b>') && /^attachment: \w+\.txt$/.test(texts('#answer li').at(-1))`)
	shoot(t, tab, "contact")
}

func visitTasks(t *testing.T, b *browser.Browser, url string) {
	tab := open(t, b, url+"/")
	tab.Eval(`document.querySelector('[data-path=async]').click()`)
	tab.WaitFor("an answer", `texts('#answers li').length === 1`)
	tab.Eval(`fill('#signup', {email: 'ann@example.org'})`)
	tab.WaitFor("an answer", `texts('#answers li')[0].includes('ann@example.org')`)
	shoot(t, tab, "tasks")
}

func visitEndpoints(t *testing.T, b *browser.Browser, url string) {
	tab := open(t, b, url+"/")
	tab.WaitFor("all three connections", `document.querySelectorAll('.state.on').length === 2 && texts('#messages li').length === 2`)
	tab.Eval(`fill('#post', {text: 'From <b>Chromium</b>'})`)
	tab.WaitFor("the message", `texts('#messages li').at(-1) === '3. From <b>Chromium</b>' && texts('#events li').at(-1) === 'message 3: From <b>Chromium</b>'`)
	tab.Eval(`fill('#send', {text: 'ho'})`)
	tab.WaitFor("the echo", `texts('#echoes li').join('|') === 'Welcome!|» ho|« ho'`)
	shoot(t, tab, "endpoints")
}

func visitRouter(t *testing.T, b *browser.Browser, url string) {
	tab := open(t, b, url+"/")
	tab.Eval(`fill('#add', {name: 'Carol', email: 'carol@example.com'})`)
	tab.WaitFor("the user", `texts('#users li').at(-1) === '3. Carol <carol@example.com>'`)
	tab.WaitFor("the WebSocket", `document.querySelector('#ws-state.on') !== null`)
	tab.Eval(`fill('#send', {text: 'ho'})`)
	tab.WaitFor("the echo and the numbers", `texts('#echoes li').at(-1) === '« ho' && texts('#ws_active, #ws_messages').join() === '1,1'`)
	shoot(t, tab, "router")
}

func visitProgress(t *testing.T, b *browser.Browser, url string) {
	tab := open(t, b, url+"/")
	tab.WaitFor("the end", `texts('#log li').join() === '25 %,50 %,75 %,100 %,done' && source.readyState === 2`)
	shoot(t, tab, "close")
}

func visitDashboard(t *testing.T, b *browser.Browser, url string) {
	tab := open(t, b, url+"/")
	tab.WaitFor("numbers", `document.querySelector('#state.on') !== null && texts('#log li').length > 5 && /^\d+$/.test(texts('#cpu')[0])`)
	shoot(t, tab, "dashboard")
}
