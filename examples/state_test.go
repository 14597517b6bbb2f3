package examples

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/06-lifespan-state/greeting"
	"github.com/pagi-go/pagi-bridge/examples/08-tls-introspection/tlsinfo"
	"github.com/pagi-go/pagi-bridge/examples/10-chat-showcase/chat"
	"github.com/pagi-go/pagi-bridge/examples/11-job-runner/jobs"
	"github.com/pagi-go/pagi-bridge/examples/13-contact-form/contact"
	"github.com/pagi-go/pagi-bridge/examples/background-tasks/tasks"
	"github.com/pagi-go/pagi-bridge/examples/endpoint-demo/demo"
	"github.com/pagi-go/pagi-bridge/examples/websocket-chat-v2/visits"
	"github.com/pagi-go/pagi-bridge/internal/dialog"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

func TestWithoutALifespan(t *testing.T) {
	pagitest.New(linted(greeting.New())).Get("/").Expect(t, 200, "Hello via shared state")
}

// The site files serve the same as the Go programs.
func TestSiteFiles(t *testing.T) {
	once(t)
	for _, name := range []string{"09-psgi-bridge", "app-01-file"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "09-psgi-bridge" {
				testkit.Tool(t, "perl", "perl")
			}
			s, err := site.Load(filepath.Join(name, "site.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			app, err := s.Build()
			if err != nil {
				t.Fatal(err)
			}
			hold(t, name, serve(t, app))
		})
	}
}

// The versions and the suite are those of the connection, and the name that of the client's certificate.
func TestTLSConnection(t *testing.T) {
	own, client := testkit.SelfSigned(t, &x509.Certificate{DNSNames: []string{"localhost"}}), testkit.SelfSigned(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ann"}})
	trusted := x509.NewCertPool()
	for _, c := range []tls.Certificate{own, client} {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		trusted.AddCert(leaf)
	}
	url := serve(t, tlsinfo.New(), func(s *server.Server) {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequestClientCert}
	})
	url = "https" + strings.TrimPrefix(url, "http")
	for _, certificates := range [][]tls.Certificate{nil, {client}} {
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			RootCAs: trusted, ServerName: "localhost", MaxVersion: tls.VersionTLS12, Certificates: certificates,
		}}
		res, body := testkit.Get(t, &http.Client{Transport: transport}, url+"/")
		text, is := strings.CutPrefix(body, "TLS info:\n")
		var info tlsinfo.Info
		if err := json.Unmarshal([]byte(text), &info); err != nil || !is {
			t.Fatalf("%q, %v", body, err)
		}
		if info.TLSVersion != "0x0303" || info.CipherSuite != fmt.Sprintf("0x%04x", res.TLS.CipherSuite) || (certificates == nil) != (info.ClientCert == nil) || info.ClientCert != nil && *info.ClientCert != "CN=ann" {
			t.Errorf("%s", body)
		}
	}
}

func TestAttachmentsAreKept(t *testing.T) {
	uploads := filepath.Join(t.TempDir(), "new", "uploads")
	client := pagitest.Start(t, linted(contact.New(uploads)))
	send := func(size int) *pagitest.Response {
		return client.Post("/submit", pagitest.Multipart(
			pagitest.Part{Name: "name", Content: "Ann"}, pagitest.Part{Name: "email", Content: "a@b"},
			pagitest.Part{Name: "message", Content: strings.Repeat("é", 101)},
			pagitest.Part{Name: "attachment", Filename: "../../evil.sh", ContentType: "text/plain", Content: strings.Repeat("x", size)},
		))
	}
	var got struct {
		Data struct{ Message, Attachment string }
	}
	if err := send(200_000).Expect(t, 200).JSON(&got); err != nil {
		t.Fatal(err)
	}
	if got.Data.Message != strings.Repeat("é", 100)+"..." {
		t.Errorf("the message is %q", got.Data.Message)
	}
	text, err := os.ReadFile(filepath.Join(uploads, filepath.Base(got.Data.Attachment)))
	if err != nil || len(text) != 200_000 || filepath.Ext(got.Data.Attachment) != ".txt" {
		t.Errorf("%s has %d bytes, %v", got.Data.Attachment, len(text), err)
	}
	if res := send(5<<20 + 1); res.Status != 413 {
		t.Errorf("more than 5 MB: %d", res.Status)
	}
	if all, err := os.ReadDir(uploads); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// The work goes on after the answer, and the shutdown waits for it.
func TestTasksEndBeforeTheProcess(t *testing.T) {
	var mu sync.Mutex
	var said []string
	report := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, fmt.Sprintf(format, args...))
	}
	err := pagitest.Run(t.Context(), linted(tasks.New(30*time.Millisecond, report)), func(client *pagitest.Client) error {
		client.Post("/signup", pagitest.JSON(map[string]string{"email": "ann@example.org"})).Expect(t, 201)
		client.Get("/blocking").Expect(t, 200)
		mu.Lock()
		defer mu.Unlock()
		if slices.Contains(said, "mail to ann@example.org: done") {
			t.Error("the answer has come after the work")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"mail to ann@example.org: done", "a long sum: done", "a picture: done"} {
		if !slices.Contains(said, want) {
			t.Errorf("%q is missing in %q", want, said)
		}
	}
}

func TestSubscribersHearOfMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := pagitest.Start(t, linted(demo.New()))
		stream := client.Events("/events", pagitest.SlowReader(0, 0))
		if event, _ := stream.Next(); event.Event != "connected" {
			t.Errorf("%+v", event)
		}
		synctest.Wait() // the stream is known a moment after its first event has come
		client.Post("/api/messages", pagitest.JSON(map[string]string{"text": "news"})).Expect(t, 201)
		if event, _ := stream.Next(); event.Event != "message" || event.Data != `{"id":3,"text":"news"}` {
			t.Errorf("%+v", event)
		}
		stream.Disconnect(pagi.ReasonClientClosed)
		if res := stream.Finish(); res.Err != nil {
			t.Error(res.Err)
		}
	})
}

// guest is a client of the chat.
type guest struct {
	*pagitest.WebSocket
	t *testing.T
}

func enter(t *testing.T, client *pagitest.Client, query string) guest {
	t.Helper()
	ws := client.WebSocket("/ws/chat?" + query)
	if !ws.Accepted {
		t.Fatalf("not accepted: %+v", ws.Response)
	}
	return guest{ws, t}
}

// hears reads the next message and compares it with a pattern of package dialog.
func (g guest) hears(pattern string) map[string]any {
	g.t.Helper()
	text, err := g.ReceiveText()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := dialog.Match([]byte(pattern), []byte(text)); err != nil {
		g.t.Errorf("%s: %v", text, err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		g.t.Fatal(err)
	}
	return got
}

func (g guest) says(message string) {
	g.t.Helper()
	if err := g.SendText(message); err != nil {
		g.t.Fatal(err)
	}
}

func (g guest) leaves() {
	g.t.Helper()
	if err := errors.Join(g.Close(1000, ""), g.Finish()); err != nil {
		g.t.Error(err)
	}
}

// Two users talk. One loses the connection, comes back with the same session and gets what was said meanwhile. Both
// chats do the same.
func TestChat(t *testing.T) {
	for name, app := range map[string]func(time.Duration) pagi.App{"events": chat.New, "helper": visits.New} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				client := pagitest.Start(t, linted(app(chat.Grace)))
				client.Timeout = time.Hour
				ann := enter(t, client, "name=ann")
				session, _ := ann.hears(`{"type": "connected", "session_id": "*", "name": "ann", "rooms": ["general", "help", "random"]}`)["session_id"].(string)
				ann.hears(`{"type": "joined", "room": "general", "history": "*", "users": [{"id": 1, "name": "ann", "typing": false}]}`)
				bob := enter(t, client, "name=ann") // the name is taken
				bob.hears(`{"type": "connected", "session_id": "*", "name": "ann1", "rooms": "*"}`)
				bob.hears(`{"type": "joined", "room": "general", "history": "*", "users": [{"id": 1, "name": "ann", "typing": false}, {"id": 2, "name": "ann1", "typing": false}]}`)
				ann.hears(`{"type": "user_joined", "room": "general", "user": "ann1", "users": "*"}`)

				bob.says(`{"type": "typing", "room": "general", "typing": true}`)
				ann.hears(`{"type": "typing", "room": "general", "user": "ann1", "typing": 1}`)
				bob.says(`{"type": "message", "text": "hi"}`)
				ann.hears(`{"type": "typing", "room": "general", "user": "ann1", "typing": 0}`)
				last := ann.hears(`{"type": "message", "room": "general", "from": "ann1", "text": "hi", "ts": "*", "id": "*"}`)["id"]
				bob.hears(`{"type": "message", "room": "general", "from": "ann1", "text": "hi", "ts": "*", "id": "*"}`)
				bob.says(`{"type": "message", "text": "/pm ann psst"}`)
				ann.hears(`{"type": "pm", "from": "ann1", "text": "psst", "ts": "*"}`)
				bob.hears(`{"type": "pm_sent", "to": "ann", "text": "psst", "ts": "*"}`)
				ann.leaves()
				time.Sleep(chat.Grace - time.Second)
				bob.says(`{"type": "message", "text": "are you there?"}`)
				bob.hears(`{"type": "message", "room": "general", "from": "ann1", "text": "are you there?", "ts": "*", "id": "*"}`)

				ann = enter(t, client, fmt.Sprintf("session=%s&lastMsgId=%v", session, last))
				ann.hears(`{"type": "resumed", "session_id": "` + session + `", "name": "ann", "rooms": ["general"],
					"missedMessages": {"general": [{"id": "*", "from": "ann1", "text": "are you there?", "type": "message", "ts": "*"}]}}`)
				bob.leaves()
				time.Sleep(chat.Grace)
				ann.hears(`{"type": "user_left", "room": "general", "user": "ann1", "users": [{"id": 1, "name": "ann", "typing": false}]}`)
				client.Get("/api/room/general/users").Expect(t, 200, `[{"id":1,"name":"ann","typing":false}]`)
				client.Get("/api/stats").Expect(t, 200, `"users_online":1`)
				ann.leaves()
			}) // the shutdown ends the waiting for ann
		})
	}
}

// Jobs run side by side up to the capacity, report progress, can be cancelled, and end at the shutdown.
func TestJobs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := pagitest.New(linted(jobs.New(2, time.Second)))
		client.Timeout = time.Hour
		if err := client.Startup(t.Context()); err != nil {
			t.Fatal(err)
		}
		add := func(kind string, params map[string]any) {
			t.Helper()
			client.Post("/api/jobs", pagitest.JSON(map[string]any{"job_type": kind, "params": params})).Expect(t, 201)
		}
		add("echo", map[string]any{"message": "hi", "delay": 2})
		add("countdown", map[string]any{"seconds": "60"})
		add("prime", nil) // waits for one of the others
		client.Get("/api/stats").Expect(t, 200, `"pending":1`, `"running":2`, `"active":2`, `"capacity":2`)
		res := client.Events("/api/jobs/1/progress", pagitest.SlowReader(0, 0)).Finish().Expect(t, 200)
		for _, want := range []string{"event: status\n", "data: {\"percent\":50,\"message\":\"1 s left\"}\n", "event: complete\n", `"echoed":"hi"`, `"duration":2`} {
			if !strings.Contains(res.Text(), want) {
				t.Errorf("%q has no %q", res.Text(), want)
			}
		}
		time.Sleep(time.Second)
		client.Get("/api/jobs/3").Expect(t, 200, `"completed"`, `"prime_count":168`, `"largest":997`, `"sample":[2,3,5,7,11,13,17,19,23,29]`)
		client.Delete("/api/jobs/2").Expect(t, 200, `"success":true`)
		add("fibonacci", map[string]any{"count": 10})
		time.Sleep(2 * time.Second)
		client.Get("/api/jobs/4").Expect(t, 200, `"sequence":[0,1,1,2,3,5,8,13,21,34]`)
		client.Get("/api/stats").Expect(t, 200, `"completed":3`, `"cancelled":1`, `"processed":4`)
		add("countdown", map[string]any{"seconds": 60})
		if err := client.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		client.Get("/api/jobs/5").Expect(t, 200, `"cancelled"`)
		client.Get("/api/stats").Expect(t, 200, `"is_running":0`)
	})
}

// A page by WebSocket hears of all that happens.
func TestJobsByWebSocket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := pagitest.Start(t, linted(jobs.New(1, time.Second)))
		ws := guest{client.WebSocket("/ws"), t}
		ws.hears(`{"type": "queue_state", "jobs": [], "stats": "*", "worker": "*", "job_types": "*"}`)
		ws.says(`{"type": "create_job", "job_type": "countdown", "params": {"seconds": 1}}`)
		var heard bytes.Buffer
		for !strings.Contains(heard.String(), "job_completed") {
			text, err := ws.ReceiveText()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&heard, text)
		}
		for _, want := range []string{"job_created", "job_started", "job_progress", "job_created_ack"} {
			if !strings.Contains(heard.String(), `"`+want+`"`) {
				t.Errorf("no %s in\n%s", want, heard.String())
			}
		}
		if err := errors.Join(ws.Close(1000, ""), ws.Finish()); err != nil {
			t.Error(err)
		}
	})
}
