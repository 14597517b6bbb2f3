package apps

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/apps/internal/fastcgi"
	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/metavars"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/spool"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// ProxyFastCGI is for backends of FastCGI. Without Root and SplitPath they are applications, as those
// of Plack are: SCRIPT_NAME is the mount, and PATH_INFO is the path below it.
type ProxyFastCGI struct {
	// Root is the directory of the scripts, as the backend sees it: DOCUMENT_ROOT, and the beginning
	// of SCRIPT_FILENAME. With Root alone the whole path is that of the script.
	Root string `yaml:"root"`
	// SplitPath ends the part of the path that names the script: ".php". The rest is PATH_INFO. A
	// path without it is answered 404.
	SplitPath string `yaml:"split_path"`
	// Index is the script for a path that ends with a slash and names no script: "index.php".
	Index string `yaml:"index"`
	// Params are variables for the backend, which win over all others.
	Params map[string]string `yaml:"params"`
}

func (o *ProxyFastCGI) isSet() bool {
	return o.Root != "" || o.SplitPath != "" || o.Index != "" || len(o.Params) > 0
}

func (o *ProxyFastCGI) check(speaks bool) error {
	var errs []error
	switch {
	case o.isSet() && !speaks:
		errs = append(errs, pagi.BadOption("to", "must be fastcgi:// or fastcgi+unix: for root, split_path, index and params"))
	case o.Root != "" && !strings.HasPrefix(o.Root, "/"):
		errs = append(errs, pagi.BadOption("root", "%q must begin with a slash: it is the backend's", o.Root))
	case o.Root == "" && (o.SplitPath != "" || o.Index != ""):
		errs = append(errs, pagi.BadOption("root", "must be set for split_path and index"))
	}
	if strings.Contains(o.Index, "/") {
		errs = append(errs, pagi.BadOption("index", "%q must be a name without a slash", o.Index))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Params)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			errs = append(errs, pagi.BadOption("params", "%q is not the name of a variable", name))
		}
		errs = append(errs, checkPlaceholders("params", name, o.Params[name]))
	}
	return errors.Join(errs...)
}

// script is what a request asks a backend of FastCGI for.
type script struct {
	name string // SCRIPT_NAME, below the mount
	info string // PATH_INFO
	file string // SCRIPT_FILENAME; "" if there is none
}

// find returns the script for a path; ok is false if there is none.
func (o *ProxyFastCGI) find(p string) (s script, ok bool) {
	if o.Root == "" {
		return script{info: p}, true
	}
	// The backend must see the path that was checked, and no ".." that leads elsewhere.
	s.name = path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && s.name != "/" {
		s.name += "/"
	}
	end := o.endOfScript(s.name)
	if end < 0 && strings.HasSuffix(s.name, "/") {
		s.name += o.Index
		end = o.endOfScript(s.name)
	}
	if end < 0 {
		return s, false
	}
	s.name, s.info = s.name[:end], s.name[end:]
	s.file = filepath.Join(o.Root, s.name)
	return s, true
}

// endOfScript returns where the script's part of a path ends; -1 if the path names none. With
// SplitPath it is the end of the first segment with that ending, whatever the case of its letters.
// Elsewhere an upload "a.php.jpg" would be a script.
func (o *ProxyFastCGI) endOfScript(p string) int {
	if o.SplitPath == "" {
		if strings.HasSuffix(p, "/") {
			return -1
		}
		return len(p)
	}
	for end := len(o.SplitPath); end <= len(p); end++ {
		if pagi.EqualFold(p[end-len(o.SplitPath):end], o.SplitPath) && (end == len(p) || p[end] == '/') {
			return end
		}
	}
	return -1
}

// serveFastCGI passes an http scope on to a backend of FastCGI, which must know the length of a body
// before it gets it. A body of which it is not known is taken in first.
func (x *proxied) serveFastCGI(ctx context.Context) error {
	var ok bool
	if x.script, ok = x.find(x.scope.Path); !ok {
		return reply.Status(ctx, x.scope, x.send, http.StatusNotFound)
	}
	if strings.IndexByte(x.scope.Path, 0) >= 0 {
		return reply.Status(ctx, x.scope, x.send, http.StatusBadRequest)
	}
	if x.body.length >= 0 {
		return x.run(ctx)
	}
	x.taken = &spool.Body{}
	defer x.taken.Close() // a file that cannot be removed stays
	if err := x.taken.Fill(&clientBody{body: x.body}); err != nil {
		return err
	}
	return x.run(ctx)
}

// attemptFastCGI is attempt for a backend of FastCGI.
func (x *proxied) attemptFastCGI(ctx context.Context, d *upstream.Direct, b *upstream.Backend, mayRepeat bool) (again bool, err error) {
	body, length, err := x.sizedBody()
	if err != nil {
		return false, err
	}
	if body != nil {
		defer body.Close() // it is read, or given up
	}
	req := &upstream.Request{
		Method: x.scope.Method, Params: x.params(length), Body: body, Limit: x.ResponseTimeout,
		Complain: func(text string) {
			x.logger.Warn("proxy: the backend has written to its standard error", x.scope.Notes.Append([]any{
				"backend", b.Name, "method", x.scope.Method, "path", x.scope.RootPath + x.scope.Path, "text", strings.TrimSpace(text),
			})...)
		},
	}
	res, err := x.ask(ctx, d, req)
	if err != nil {
		if failed := x.body.failure(); failed != nil { // the client's, or a limit's
			return false, failed
		}
		return x.failed(ctx, b, err, mayRepeat && (x.taken != nil || !x.body.begun.Load()), req.Connected)
	}
	defer res.Close()
	return false, x.relayDirect(ctx, b, res)
}

// sizedBody returns the request body for one attempt, and its length. body is nil if there is none.
func (x *proxied) sizedBody() (body io.ReadCloser, length int64, err error) {
	switch {
	case x.taken == nil && x.body.length == 0:
		return nil, 0, nil
	case x.taken == nil:
		return &clientBody{body: x.body}, x.body.length, nil
	case !x.taken.InFile():
		return io.NopCloser(bytes.NewReader(x.taken.Bytes())), x.taken.Size(), nil
	}
	f, err := x.taken.Open()
	return f, x.taken.Size(), err
}

// clientBody reads a request body from the client, in one attempt to send the request.
type clientBody struct {
	body   *proxyBody
	closed atomic.Bool
}

// Read implements io.Reader.
func (c *clientBody) Read(p []byte) (int, error) {
	c.body.begun.Store(true) // before the look at closed: Close looks at begun
	if c.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return c.body.read(p, &patience{}, func() {})
}

// Close implements io.Closer. It ends a Read that runs. A body of which nothing was read may go
// into another attempt.
func (c *clientBody) Close() error {
	c.closed.Store(true)
	if c.body.begun.Load() {
		c.body.giveUp()
	}
	return nil
}

// params returns the variables of a request, encoded.
func (x *proxied) params(length int64) (pairs []byte) {
	s := x.script
	own := x.scope.Clone()
	own.Path, own.RootPath, own.Headers = s.info, x.scope.RootPath+s.name, x.appHeaders()
	put := func(name, value string) {
		if _, given := x.Params[name]; !given {
			pairs = fastcgi.AppendPair(pairs, name, value)
		}
	}
	metavars.Each(own, metavars.Options{ContentLength: length, Authorization: true}, put)
	put("GATEWAY_INTERFACE", "CGI/1.1")
	put("SERVER_SOFTWARE", "pagi-bridge")
	put("REQUEST_SCHEME", webScheme(x.scope.Scheme))
	if s.file != "" {
		put("DOCUMENT_ROOT", x.Root)
		put("SCRIPT_FILENAME", s.file)
		put("REDIRECT_STATUS", "200") // without it php-cgi runs nothing
		if s.info != "" {
			put("PATH_TRANSLATED", filepath.Join(x.Root, s.info))
		}
	}
	for name, value := range x.Params {
		pairs = fastcgi.AppendPair(pairs, name, expandHeader(value, x.scope))
	}
	return pairs
}

// appHeaders are the headers for an application that is told of the client by variables: none of
// those that tell of the client in front of a proxy.
func (x *proxied) appHeaders() pagi.Headers {
	named := connectionNames(x.scope.Headers)
	headers := make(pagi.Headers, 0, len(x.scope.Headers))
	for _, h := range x.scope.Headers {
		h.Name = headername.Lower(h.Name)
		if !isHop(h.Name) && !isForwarding(h.Name) && h.Name != "expect" && !slices.Contains(named, h.Name) {
			headers = append(headers, h)
		}
	}
	x.RequestHeaders.apply(&headers, x.scope)
	return headers
}
