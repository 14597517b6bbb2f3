package request_test

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

const multi = "multipart/form-data; boundary=b"

// field and file make parts of a body; finish puts them together.
func field(name, value string) string {
	return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

func file(name, filename, content string) string {
	return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"; filename=\"" + filename + "\"\r\nContent-Type: text/x-test; charset=utf-8\r\n\r\n" + content + "\r\n"
}

func finish(parts ...string) string { return strings.Join(parts, "") + "--b--\r\n" }

// describe tells what a form has.
func describe(form *request.Multipart) (all []string, err error) {
	for _, pair := range form.Values {
		all = append(all, pair.Name+"="+pair.Value)
	}
	for _, u := range form.Files {
		data, readErr := u.Bytes(1 << 30)
		err = errors.Join(err, readErr)
		if int64(len(data)) != u.Size {
			err = errors.Join(err, fmt.Errorf("%s: %d bytes of %d", u.Field, len(data), u.Size))
		}
		if len(data) > 20 {
			data = fmt.Appendf(nil, "%d bytes", len(data))
		}
		all = append(all, fmt.Sprintf("%s<%s:%s", u.Field, u.Filename, data))
	}
	return all, err
}

func TestMultipartForms(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 20_000) // spooled
	for name, c := range map[string]struct {
		body   string
		limits request.Limits
		want   []string
		status int
	}{
		"fields and files":                {finish(field("a", "1"), file("f", "x.txt", "hello"), field("a", "2")), request.Limits{}, []string{"a=1", "a=2", "f<x.txt:hello"}, 200},
		"no parts":                        {finish(), request.Limits{}, nil, 200},
		"a preamble and an epilogue":      {"before\r\n" + finish(field("a", "1")) + "after\r\n--b\r\nnothing", request.Limits{}, []string{"a=1"}, 200},
		"no end of line behind it":        {strings.TrimSuffix(finish(field("a", "1")), "\r\n"), request.Limits{}, []string{"a=1"}, 200},
		"padding behind a boundary":       {strings.ReplaceAll(finish(field("a", "1")), "--b\r\n", "--b \t\r\n"), request.Limits{}, []string{"a=1"}, 200},
		"line breaks in a value":          {finish(field("a", "\r\n--c\r\n\r\n-\r\n--\r\n")), request.Limits{}, []string{"a=\r\n--c\r\n\r\n-\r\n--\r\n"}, 200},
		"a longer word than the boundary": {finish(field("a", "1\r\n--bc\r\n--b-\r\n2")), request.Limits{}, []string{"a=1\r\n--bc\r\n--b-\r\n2"}, 200},
		"empty values":                    {finish(field("a", ""), field("", "x")[:0]), request.Limits{}, []string{"a="}, 200},
		"an empty file":                   {finish(file("f", "x", "")), request.Limits{}, []string{"f<x:"}, 200},
		"no file chosen":                  {finish(file("f", "", "")), request.Limits{}, nil, 200},
		"a file without a name":           {finish(file("f", "", "x")), request.Limits{}, []string{"f<:x"}, 200},
		"a file that is spooled":          {finish(file("f", "x", large), field("a", "1")), request.Limits{}, []string{"a=1", "f<x:320000 bytes"}, 200},
		"a nested form":                   {finish(field("a", "--c\r\nContent-Disposition: form-data; name=b\r\n\r\nx\r\n--c--")), request.Limits{}, []string{"a=--c\r\nContent-Disposition: form-data; name=b\r\n\r\nx\r\n--c--"}, 200},

		"nothing":                   {"", request.Limits{}, nil, 400},
		"no boundary":               {"a=1&b=2", request.Limits{}, nil, 400},
		"no last boundary":          {field("a", "1"), request.Limits{}, nil, 400},
		"cut in a value":            {"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nval", request.Limits{}, nil, 400},
		"cut in a file":             {file("e", "e", large) + "--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n" + large, request.Limits{}, nil, 400},
		"cut in a header":           {"--b\r\nContent-Dis", request.Limits{}, nil, 400},
		"cut in a boundary":         {field("a", "1") + "--", request.Limits{}, nil, 400},
		"a part without a name":     {finish("--b\r\n\r\nx\r\n"), request.Limits{}, nil, 400},
		"a malformed header":        {finish("--b\r\nno colon\r\n\r\nx\r\n"), request.Limits{}, nil, 400},
		"a header that is folded":   {finish("--b\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\nx\r\n"), request.Limits{}, nil, 400},
		"a header with NUL":         {finish("--b\r\nContent-Disposition: form-data; name=a\x00\r\n\r\nx\r\n"), request.Limits{}, nil, 400},
		"a header of 1 MB":          {finish("--b\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\nx\r\n"), request.Limits{}, nil, 413},
		"101 headers":               {finish("--b\r\n" + strings.Repeat("x: y\r\n", 101) + "\r\nx\r\n"), request.Limits{}, nil, 413},
		"10,001 fields":             {finish(strings.Repeat(field("a", ""), 10_001)), request.Limits{}, nil, 413},
		"as many fields as allowed": {finish(field("a", "1"), field("b", "2")), request.Limits{Fields: 2}, []string{"a=1", "b=2"}, 200},
		"one field more":            {finish(field("a", "1"), field("b", "2")), request.Limits{Fields: 1}, nil, 413},
		"files are counted apart":   {finish(field("a", "1"), file("f", "f", "1")), request.Limits{Fields: 1, Files: 1}, []string{"a=1", "f<f:1"}, 200},
		"one file more":             {finish(file("f", "f", "1"), file("f", "f", large)), request.Limits{Files: 1}, nil, 413},
		"21 files":                  {finish(strings.Repeat(file("f", "f", "1"), 21)), request.Limits{}, nil, 413},
		"a field of the limit":      {finish(field("a", "12345")), request.Limits{Field: 5}, []string{"a=12345"}, 200},
		"a field that is too large": {finish(field("a", "123456")), request.Limits{Field: 5}, nil, 413},
		"a file of the limit":       {finish(file("f", "f", "12345")), request.Limits{File: 5, Field: 1}, []string{"f<f:12345"}, 200},
		"a file that is too large":  {finish(file("e", "e", large), file("f", "f", large+"1")), request.Limits{File: int64(len(large))}, nil, 413},
		"too large in all":          {finish(field("a", "1")), request.Limits{Total: int64(len(finish(field("a", "1")))) - 1}, nil, 413},
		"the limit in all":          {finish(field("a", "1")), request.Limits{Total: int64(len(finish(field("a", "1"))))}, []string{"a=1"}, 200},
		"an epilogue without end":   {finish(field("a", "1")) + strings.Repeat("x", 100_000), request.Limits{Total: 50_000}, nil, 413},
		"no limits":                 {finish(strings.Repeat(field("a", "1"), 2000)), request.Limits{Fields: -1, Files: -1, Field: -1, File: -1, Total: -1}, slices.Repeat([]string{"a=1"}, 2000), 200},
	} {
		t.Run(name, func(t *testing.T) {
			noFiles(t)
			res := post(t, func(r *request.Request) (err error) {
				r.Limits = c.limits
				defer func() { err = errors.Join(err, r.Close()) }()
				form, err := r.Multipart()
				if err != nil {
					if _, again := r.Multipart(); again == nil || again.Error() != err.Error() {
						t.Errorf("first %v, then %v", err, again)
					}
					return err
				}
				got, err := describe(form)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
				if again, err := request.New(t.Context(), r.Scope(), nil).Multipart(); again != form || err != nil {
					t.Errorf("another Request: %v", err)
				}
				return err
			}, multi, c.body)
			if res.Status != c.status {
				t.Errorf("%d, %v", res.Status, res.Err)
			}
		})
	}
}

func TestBoundaries(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		status            int
	}{
		"no boundary":       {"multipart/form-data", finish(), 400},
		"an empty boundary": {"multipart/form-data; boundary=", finish(), 400},
		"a quoted boundary": {`multipart/form-data; boundary="b"`, finish(field("a", "1")), 200},
		"a long boundary":   {"multipart/form-data; boundary=" + strings.Repeat("b", 71), "", 400},
		"the longest":       {"multipart/form-data; boundary=" + strings.Repeat("b", 70), "--" + strings.Repeat("b", 70) + "--", 200},
		"another type":      {"text/plain; boundary=b", finish(), 415},
	} {
		res := post(t, func(r *request.Request) error { _, err := r.Multipart(); return err }, c.contentType, c.body)
		if res.Status != c.status {
			t.Errorf("%s: %d, %v", name, res.Status, res.Err)
		}
	}
}

func TestNamesOfFiles(t *testing.T) {
	for disposition, want := range map[string]string{
		`name="f"; filename="a.txt"`:                                   "f<a.txt",
		`name=f; filename=a.txt`:                                       "f<a.txt",
		`NAME="f"; FileName="a.txt"`:                                   "f<a.txt",
		`filename="a.txt"; name="f"`:                                   "f<a.txt",
		`name="f"; filename="C:\docs\a.txt"`:                           "f<a.txt",
		`name="f"; filename="C:\docs\"`:                                "f<",
		`name="f"; filename="C:evil.txt"`:                              "f<evil.txt",
		"name=\"f\"; filename=\"a\u0085b\"":                            "f<ab",
		`name="f"; filename="../../etc/passwd"`:                        "f<passwd",
		`name="f"; filename=".."`:                                      "f<",
		`name="f"; filename=".htaccess"`:                               "f<.htaccess",
		`name="f"; filename="a;b.txt"`:                                 "f<a;b.txt",
		`name="f"; filename="a\"b.txt"`:                                `f<a"b.txt`,
		`name="f"; filename="a%22b.txt"`:                               `f<a"b.txt`,
		`name="f%0D%0Ag%22"; filename="x"`:                             "f\r\ng\"<x",
		`name="f"; filename="100%25.txt"`:                              "f<100%25.txt",
		`name="ü"; filename="ä.txt"`:                                   "ü<ä.txt",
		"name=\"f\"; filename=\"a\xff.txt\"":                           "f<a\uFFFD.txt",
		"name=\"f\"; filename=\"a\tb\"":                                "f<ab",
		`name="f"; filename="plain"; filename*=UTF-8''%e2%82%ac%20a+b`: "f<€ a+b",
		`name="f"; filename*=iso-8859-1'en'%A3`:                        "f<£",
		`name="f"; filename="plain"; filename*=UTF-8''%ff`:             "f<plain",
		`name="f"; filename="plain"; filename*=UTF-8''%zz`:             "f<plain",
		`name="f"; filename="plain"; filename*=nonsense`:               "f<plain",
		`name="f"; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd%00`:         "f<passwd",
		`name="f"; name="g"; filename="a"; filename="b"`:               "f<a",
	} {
		body := "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\nx\r\n--b--\r\n"
		res := post(t, func(r *request.Request) error {
			form, err := r.Multipart()
			if err != nil {
				return err
			}
			if len(form.Files) != 1 || form.Files[0].Field+"<"+form.Files[0].Filename != want {
				t.Errorf("%s: %+v, want %q", disposition, form.Files, want)
			}
			return r.Close()
		}, multi, body)
		if res.Err != nil {
			t.Errorf("%s: %v", disposition, res.Err)
		}
	}
}

func TestUploads(t *testing.T) {
	dir := noFiles(t)
	for name, content := range map[string]string{"in memory": "hello", "in a file": strings.Repeat("x", 100_000)} {
		res := post(t, func(r *request.Request) error {
			form, err := r.Multipart()
			if err != nil {
				return err
			}
			u := form.File("f")
			if u == nil || form.File("g") != nil || u.ContentType() != "text/x-test" || u.Headers.Get("content-type") != "text/x-test; charset=utf-8" {
				t.Fatalf("%s: %+v", name, u)
			}
			if _, err := u.Bytes(u.Size - 1); !errors.Is(err, request.ErrTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
			for range 2 {
				from, err := u.Open()
				if err != nil {
					return err
				}
				data, err := io.ReadAll(from)
				if string(data) != content || err != nil || from.Close() != nil {
					t.Errorf("%s: %d bytes, %v", name, len(data), err)
				}
			}
			if err := u.Save(dir + "/saved"); err != nil {
				return err
			}
			if err := u.Save(dir + "/saved"); !errors.Is(err, os.ErrExist) {
				t.Errorf("%s: saved over a file: %v", name, err)
			}
			info, err := os.Stat(dir + "/saved")
			if err != nil || info.Mode().Perm() != 0o600 || info.Size() != u.Size {
				t.Errorf("%s: %v, %v", name, info, err)
			}
			if err := errors.Join(os.Remove(dir+"/saved"), r.Close(), r.Close()); err != nil {
				return err
			}
			if _, err := u.Open(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s: open after Close: %v", name, err)
			}
			return nil
		}, multi, finish(file("f", "x", content)))
		if res.Err != nil {
			t.Errorf("%s: %v", name, res.Err)
		}
	}
}

func TestPartsOneByOne(t *testing.T) {
	dir := noFiles(t)
	large := strings.Repeat("0123456789abcdef", 20_000)
	body := finish(field("a", "1"), file("skipped", "s", large), file("f", "f", large), field("b", "2"), file("g", "g", "small"))
	res := post(t, func(r *request.Request) error {
		s, err := r.MultipartStream()
		if err != nil {
			return err
		}
		a, err := s.Next()
		if err != nil {
			return err
		}
		if v, err := a.Value(); a.Name != "a" || a.IsFile() || v != "1" || err != nil {
			t.Errorf("%+v, %q, %v", a, v, err)
		}
		if _, err := s.Next(); err != nil { // left unread
			return err
		}
		f, err := s.Next()
		if err != nil {
			return err
		}
		begin := make([]byte, 10)
		if _, err := io.ReadFull(f, begin); string(begin) != "0123456789" || err != nil {
			t.Errorf("%q, %v", begin, err)
		}
		if n, err := f.Save(dir + "/f"); n != int64(len(large)-10) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		b, err := s.Next()
		if err != nil {
			return err
		}
		if _, err := f.Read(begin); err == nil || err == io.EOF {
			t.Errorf("a part that was left: %v", err)
		}
		if v, err := io.ReadAll(b); string(v) != "2" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		g, err := s.Next()
		if err != nil {
			return err
		}
		if _, err := g.Save(dir + "/f"); !errors.Is(err, os.ErrExist) {
			t.Errorf("saved over a file: %v", err)
		}
		for range 2 {
			if _, err := s.Next(); err != io.EOF {
				t.Errorf("the end: %v", err)
			}
		}
		return os.Remove(dir + "/f")
	}, multi, body)
	if res.Err != nil {
		t.Error(res.Err)
	}
}

// After a fault, and after a sink that fails, the stream gives nothing any more, and no file is left.
func TestAPartThatFails(t *testing.T) {
	dir := noFiles(t)
	for name, c := range map[string]struct {
		body string
		read func(p *request.Part) error
		want error
	}{
		"a sink":           {finish(file("f", "f", "hello"), field("a", "1")), func(p *request.Part) error { _, err := io.Copy(&fullDisk{3}, p); return err }, errFull},
		"a large file":     {finish(file("f", "f", "hello!"), field("a", "1")), func(p *request.Part) error { _, err := p.Save(dir + "/f"); return err }, request.ErrTooLarge},
		"a truncated file": {file("f", "f", "hello")[:90], func(p *request.Part) error { _, err := p.Save(dir + "/f"); return err }, request.ErrMalformed},
		"a large value":    {finish(file("f", "f", "hello")), func(p *request.Part) error { _, err := p.Value(); return err }, request.ErrTooLarge},
		"a skipped part":   {file("f", "f", "hello")[:90], func(*request.Part) error { return nil }, request.ErrMalformed},
	} {
		post(t, func(r *request.Request) error {
			r.Limits.File, r.Limits.Field = 5, 4
			s, err := r.MultipartStream()
			if err != nil {
				return err
			}
			part, err := s.Next()
			if err != nil {
				return err
			}
			if err := c.read(part); err != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
			for range 2 {
				if _, err := s.Next(); !errors.Is(err, c.want) {
					t.Errorf("%s, then: %v", name, err)
				}
			}
			if _, err := r.Bytes(); !errors.Is(err, request.ErrStreamed) {
				t.Errorf("%s, as bytes: %v", name, err)
			}
			return nil
		}, multi, c.body)
	}
}

// Package mime/multipart finds the same parts in a body that both accept.
func FuzzMultipart(f *testing.F) {
	for _, seed := range []string{
		finish(field("a", "1"), file("f", "x.txt", "hello")), field("a", "1"), "--b\r\n\r\n\r\n--b--", "x\r\n--b--", "--b \r\nA: b\r\n\r\n--b--\r\n--b",
		finish(field("a", "\r\n--bb\r\n")), "--b--", "\r\n--b\r\n", finish(field("a", "\r\n-")),
	} {
		f.Add(seed, 1)
		f.Add(seed, 7)
	}
	f.Fuzz(func(t *testing.T, body string, step int) {
		var pieces []string
		for rest := body; rest != ""; {
			n := min(max(step, 1), len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if len(pieces) > 3000 {
			return
		}
		var events []pagi.Event
		for _, piece := range pieces {
			events = append(events, pagi.HTTPRequest{Body: []byte(piece), More: true})
		}
		events = append(events, pagi.HTTPRequest{})
		r := request.New(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Headers: pagi.NewHeaders("content-type", multi)}, replay(events...))
		stream, err := r.MultipartStream()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			part, err := stream.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return // mime/multipart is more lenient
			}
			data, err := io.ReadAll(part)
			if err != nil {
				return
			}
			got = append(got, string(data))
		}
		if strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\n") {
			return // mime/multipart takes bare line feeds for line ends
		}
		theirs := multipart.NewReader(strings.NewReader(body), "b")
		var want []string
		for {
			part, err := theirs.NextRawPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				return
			}
			data, err := io.ReadAll(part)
			if err != nil {
				return
			}
			want = append(want, string(data))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: we have %q, mime/multipart has %q", body, got, want)
		}
	})
}

func FuzzDisposition(f *testing.F) {
	for _, seed := range []string{`form-data; name="a"; filename="b"`, `form-data; name="a\"; filename="`, `;;;filename*=UTF-8''%41`, `name="`, `form-data; name=a; filename="C:\"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, disposition string) {
		body := "--b\r\nContent-Disposition: " + disposition + "\r\n\r\nx\r\n--b--\r\n"
		r := request.New(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Headers: pagi.NewHeaders("content-type", multi)}, replay(pagi.HTTPRequest{Body: []byte(body)}))
		form, err := r.Multipart()
		if err != nil {
			return
		}
		for _, u := range form.Files {
			if strings.ContainsAny(u.Filename, "/\\\x00\r\n") || u.Filename == "." || u.Filename == ".." {
				t.Errorf("%q became %q", disposition, u.Filename)
			}
		}
	})
}

// largeUpload is a body with one file of n bytes.
func largeUpload(n int) io.Reader {
	return io.MultiReader(strings.NewReader(strings.TrimSuffix(file("f", "f", ""), "\r\n")), io.LimitReader(zeros{}, int64(n)), strings.NewReader("\r\n--b--\r\n"))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A gigabyte goes to a file in a few megabytes of memory.
func TestALargeUploadInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("1 GiB")
	}
	const size = 1 << 30
	srv := httptest.NewServer(nethttp.Handler(reading(func(r *request.Request) error {
		r.Limits.File, r.Limits.Total = 2<<30, 2<<30
		s, err := r.MultipartStream()
		if err != nil {
			return err
		}
		part, err := s.Next()
		if err != nil {
			return err
		}
		if n, err := io.Copy(io.Discard, part); n != size || err != nil {
			return fmt.Errorf("%d bytes, %w", n, err)
		}
		_, err = s.Next()
		if err != io.EOF {
			return err
		}
		return nil
	})))
	defer srv.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res, err := http.Post(srv.URL, multi, largeUpload(size))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); res.StatusCode != 200 || grown > 8<<20 {
		t.Errorf("%d, %d bytes more", res.StatusCode, grown)
	}
}

func BenchmarkUpload(b *testing.B) {
	const size = 64 << 20
	run := func(b *testing.B, h http.Handler) {
		srv := httptest.NewServer(h)
		defer srv.Close()
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			res, err := http.Post(srv.URL, multi, largeUpload(size))
			if err != nil || res.StatusCode != 200 {
				b.Fatal(res, err)
			}
			res.Body.Close()
		}
	}
	b.Run("request", func(b *testing.B) {
		run(b, nethttp.Handler(reading(func(r *request.Request) error {
			s, err := r.MultipartStream()
			if err != nil {
				return err
			}
			part, err := s.Next()
			if err == nil {
				_, err = io.Copy(io.Discard, part)
			}
			return err
		})))
	})
	b.Run("mime/multipart", func(b *testing.B) {
		run(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := r.MultipartReader()
			if err != nil {
				b.Error(err)
				return
			}
			part, err := s.NextPart()
			if err == nil {
				_, err = io.Copy(io.Discard, part)
			}
			if err != nil {
				b.Error(err)
			}
		}))
	})
}
