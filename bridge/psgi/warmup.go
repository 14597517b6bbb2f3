package psgi

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/metavars"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// maxWarmup is how many requests Warmup may list.
const maxWarmup = 100

// checkWarmup reports targets that no client could ask for.
func (o *PSGI) checkWarmup() error {
	var errs []error
	if len(o.Warmup) > maxWarmup {
		errs = append(errs, option.Wrong("warmup", "has %d requests, and may have %d", len(o.Warmup), maxWarmup))
	}
	for _, target := range o.Warmup {
		if _, err := o.warmupScope(target); err != nil {
			errs = append(errs, option.Wrong("warmup", "%q: %s", target, err))
		}
	}
	return errors.Join(errs...)
}

// warmupScope is the scope of a request of Warmup.
func (o *PSGI) warmupScope(target string) (*pagi.Scope, error) {
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return nil, errors.New("must be a path that begins with a slash, and may have a query")
	}
	if strings.ContainsAny(target, "# \t\r\n\x00") {
		return nil, errors.New("must be written as in a request: no blanks, no fragment")
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fmt.Errorf("%w", errors.Unwrap(err))
	}
	return &pagi.Scope{
		Type: pagi.TypeHTTP, HTTPVersion: "1.1", Method: "GET", Scheme: "http", RootPath: o.RootPath,
		Path: u.Path, RawPath: u.EscapedPath(), QueryString: u.RawQuery,
		Client: pagi.Addr{Host: "127.0.0.1"}, Server: pagi.Addr{Host: "localhost", Port: 80},
		Headers: pagi.NewHeaders("host", "localhost", "user-agent", "pagi-bridge (warmup)"),
	}, nil
}

// warmups returns the requests of Warmup for the worker: pairs of a target and the pairs of its environment.
func (o *PSGI) warmups() (string, error) {
	var all []string
	for _, target := range o.Warmup {
		scope, err := o.warmupScope(target)
		if err != nil {
			return "", err
		}
		var pairs []string
		metavars.Each(scope, metavars.Options{ContentLength: -1}, func(name, value string) { pairs = append(pairs, name, value) })
		pairs = append(pairs, "psgi.url_scheme", scope.Scheme)
		all = append(all, target, string(wire.AppendPairs(nil, pairs...)))
	}
	return string(wire.AppendPairs(nil, all...)), nil
}
