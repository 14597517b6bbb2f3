package session_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// Perl reads the signed cookies that Go has made, and refuses the others.
func TestPerlReadsSignedCookies(t *testing.T) {
	perl, err := exec.LookPath("perl")
	if err != nil {
		t.Skip("perl is not installed")
	}
	script, err := filepath.Abs("../../examples/session-cookie/session-cookie.pl")
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys")
	var lines strings.Builder
	for _, id := range []string{"new", "old"} {
		fmt.Fprintf(&lines, "%s %s\n", id, hex.EncodeToString(key(id).Secret))
	}
	if err := os.WriteFile(keys, []byte("# keys\n\n"+lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(token, name string) (out, problem string, err error) {
		cmd := exec.CommandContext(t.Context(), perl, script, "--name", name, "--keys", keys)
		cmd.Stdin = strings.NewReader(token)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err = cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	rec := record()
	rec.Created = time.Now()
	rec.Used, rec.Deadline = rec.Created, rec.Created.Add(time.Hour)
	rec.Data = map[string]json.RawMessage{"user": json.RawMessage(`"änn"`), "roles": json.RawMessage(`["a",1,null,true]`)}
	make := func(t *testing.T, id string, edit func(*session.Record)) string {
		t.Helper()
		r := rec.Clone()
		edit(r)
		token, err := (&session.CookieStore{Keys: []session.Key{key(id)}, Signed: true}).Save(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	same := func(*session.Record) {}
	for _, id := range []string{"new", "old"} {
		out, problem, err := read(make(t, id, same), "pagi_session")
		if err != nil || problem != "" {
			t.Fatalf("%v: %s", err, problem)
		}
		var got struct {
			ID       string
			Created  int64
			Deadline int64
			Data     struct {
				User  string
				Roles []any
			}
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		if got.ID != rec.ID || got.Created != rec.Created.Unix() || got.Deadline != rec.Deadline.Unix() || got.Data.User != "änn" || fmt.Sprint(got.Data.Roles) != "[a 1 <nil> true]" {
			t.Errorf("perl read %s", out)
		}
	}
	good := make(t, "new", same)
	sealed, err := (&session.CookieStore{Keys: []session.Key{key("new")}}).Save(t.Context(), rec.Clone())
	if err != nil {
		t.Fatal(err)
	}
	middle := len(good) / 2
	for _, c := range []struct{ name, token, cookie string }{
		{"another cookie", good, "admin_session"},
		{"an unknown key", make(t, "stranger", same), "pagi_session"},
		{"an expired session", make(t, "new", func(r *session.Record) { r.Deadline = time.Now().Add(-time.Second) }), "pagi_session"},
		{"a changed payload", good[:middle] + string(good[middle]^1) + good[middle+1:], "pagi_session"},
		{"a changed signature", good[:len(good)-2] + string(good[len(good)-2]^1) + good[len(good)-1:], "pagi_session"},
		{"a token that is cut", good[:len(good)-1], "pagi_session"},
		{"a sealed token", sealed, "pagi_session"},
		{"nothing", "", "pagi_session"},
		{"a very long token", "s1.new." + strings.Repeat("A", 5000) + strings.Repeat("A", 43), "pagi_session"},
	} {
		out, problem, err := read(c.token, c.cookie)
		if err == nil || out != "" || problem != "the token is not valid\n" {
			t.Errorf("%s: %v, output %q, error output %q", c.name, err, out, problem)
		}
	}
}
