package site_test

import (
	"context"
	"errors"
	"testing"

	"github.com/pagi-go/pagi-bridge/site"
)

// reloading is an application that can be reloaded, or says why not.
type reloading struct {
	greeter
	times int
	err   error
}

func (r *reloading) Reload(context.Context) error {
	r.times++
	return r.err
}

func TestReload(t *testing.T) {
	a := &reloading{greeter: greeter{Greeting: "a"}, err: errors.New("no such table")}
	b := &reloading{greeter: greeter{Greeting: "b"}}
	c := &reloading{greeter: greeter{Greeting: "c"}, err: errors.New("syntax error")}
	s := &site.Site{Mounts: []*site.Mount{
		{Path: "/", Kind: site.KindGo, Options: a},
		{Path: "/b", Kind: site.KindGo, Options: b},
		{Path: "/c", Host: "example.org", Kind: site.KindGo, Options: c},
		site.NewMount(site.KindNotFound, "gone"),
	}}
	s.Mounts[3].Path = "/gone"
	if err := s.Reload(t.Context()); err == nil {
		t.Error("a site that was not built can be reloaded")
	}
	if _, err := s.Build(); err != nil {
		t.Fatal(err)
	}
	want := "/: no such table\nexample.org/c: syntax error"
	if err := s.Reload(t.Context()); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if a.times != 1 || b.times != 1 || c.times != 1 {
		t.Errorf("reloaded %d, %d and %d times", a.times, b.times, c.times)
	}
	a.err, c.err = nil, nil
	if err := s.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}
