package site_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/site"
)

func TestStatus(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	s := &site.Site{Mounts: []*site.Mount{
		{Path: "/", Kind: site.KindPSGI, Options: &psgi.PSGI{Code: "sub { [200, [], []] }", Processes: worker.Processes{Workers: 2}}},
		site.NewMount(site.KindNotFound, "gone"),
	}}
	s.Mounts[1].Path = "/gone"
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	if list := s.Status(); len(list) != 1 || list[0].Mount != "/" || len(list[0].Workers) != 0 {
		t.Errorf("before the start: %+v", list)
	}
	lifespan, err := lifespan.Start(t.Context(), app, &pagi.Scope{Type: pagi.TypeLifespan})
	if err != nil {
		t.Fatal(err)
	}
	if list := s.Status(); len(list) != 1 || len(list[0].Workers) != 2 {
		t.Errorf("after it: %+v", list)
	}
	if err := lifespan.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
