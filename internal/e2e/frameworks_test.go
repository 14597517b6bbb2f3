package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"os/exec"
	"strings"
	"testing"
)

// Plack's own suite for servers, all of it, with Plack's Lint on.
func TestPlackSuite(t *testing.T) { plackSuite(t, "") }

func TestPlackSuiteInALoop(t *testing.T) {
	needPerl(t, "IO::Async::Loop", "libio-async-perl")
	plackSuite(t, "--loop")
}

// plackSuite runs Plack's suite for servers against the program with flags.
func plackSuite(t *testing.T, flags string) {
	t.Helper()
	needPerl(t, "Plack::Test::Suite", "libplack-perl")
	cmd := exec.Command("prove", "-v", testdata("suite.t"))
	cmd.Env = append(cmd.Environ(), "PAGI_BRIDGE="+program, "PAGI_BRIDGE_FLAGS="+flags, "PLACK_ENV=", "PAGI_ENV=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("ok ")); n < 100 {
		t.Errorf("only %d tests ran\n%s", n, out)
	}
}

// Plack starts the program: plackup -s PagiBridge, PLACK_SERVER, and Plack's suite for
// servers with closures of the test itself.
func TestPlackHandler(t *testing.T) {
	needPerl(t, "Plack::Test::Suite", "libplack-perl")
	needPerl(t, "Test::TCP", "libtest-tcp-perl")
	cmd := exec.Command("prove", "-v", "../../perl/t/plack_handler.t")
	cmd.Env = append(cmd.Environ(), "PAGI_BRIDGE="+program, "PLACK_ENV=", "PAGI_ENV=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("ok ")); n < 100 {
		t.Errorf("only %d tests ran\n%s", n, out)
	}
}

// Applications of the three frameworks, each with a page, a form, an upload of
// 50 MB and a streamed download.
func TestFrameworks(t *testing.T) {
	for _, f := range []struct{ name, file, module, debian, title string }{
		{"Dancer2", "dancer2.psgi", "Dancer2", "libdancer2-perl", "Dancer2"},
		{"Mojolicious", "mojolicious.psgi", "Mojolicious::Lite", "libmojolicious-perl", "Mojolicious"},
		{"Catalyst", "catalyst.psgi", "Catalyst", "libcatalyst-perl", "Catalyst"},
	} {
		t.Run(f.name, func(t *testing.T) {
			needPerl(t, f.module, f.debian)
			g := serve(t, "-w", "2", "--max-body-size", "100000000", testdata(f.file))
			t.Run("page", func(t *testing.T) {
				res, body := g.get("/")
				if want := "<!doctype html><title>" + f.title + "</title><p>Grüße ☺"; res.StatusCode != 200 || body != want {
					t.Errorf("%d %q, want %q", res.StatusCode, body, want)
				}
				if ct := res.Header.Get("Content-Type"); !strings.EqualFold(strings.ReplaceAll(ct, " ", ""), "text/html;charset=utf-8") {
					t.Errorf("content type %q", ct)
				}
			})
			t.Run("form", func(t *testing.T) {
				res, body := g.request("POST", "/form", "application/x-www-form-urlencoded", strings.NewReader("b=two+%26+more&a=Gr%C3%BC%C3%9Fe"))
				if want := "a=Grüße\nb=two & more"; res.StatusCode != 200 || body != want {
					t.Errorf("%d %q, want %q", res.StatusCode, body, want)
				}
			})
			t.Run("upload of 50 MB", func(t *testing.T) { upload(t, g) })
			t.Run("streamed download", func(t *testing.T) {
				const blocks = 3000
				res, body := g.get(fmt.Sprintf("/download?blocks=%d", blocks))
				var want strings.Builder
				for n := range blocks {
					fmt.Fprintf(&want, "%-1023d\n", n+1)
				}
				if res.StatusCode != 200 || body != want.String() {
					t.Errorf("%d, %d bytes, want %d", res.StatusCode, len(body), want.Len())
				}
			})
			t.Run("not found", func(t *testing.T) {
				if res, _ := g.get("/no/such/page"); res.StatusCode != 404 {
					t.Errorf("%d", res.StatusCode)
				}
			})
		})
	}
}

func upload(t *testing.T, g *gateway) {
	content := make([]byte, 50_000_000)
	random := rand.NewChaCha8([32]byte{20})
	if _, err := random.Read(content); err != nil {
		t.Fatal(err)
	}
	for _, known := range []bool{true, false} {
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("file", "ran dom.bin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var body io.Reader = &form
		if !known {
			body = io.MultiReader(&form) // which net/http cannot measure, so it is chunked
		}
		res, answer := g.request("POST", "/upload", w.FormDataContentType(), body)
		want := fmt.Sprintf("ran dom.bin %d %x", len(content), sha256.Sum256(content))
		if res.StatusCode != 200 || answer != want {
			t.Errorf("length known: %v: %d %q, want %q", known, res.StatusCode, answer, want)
		}
	}
}
