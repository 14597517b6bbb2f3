package site_test

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
)

func TestClusterThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"cluster: localhost":                          "cluster: ",
		"cluster: redis://localhost/0\nlifespan: off": "lifespan: must not be off",
	} {
		dir := testkit.Tree(t, map[string]string{"site.yaml": text + "\nmounts: [{path: /, ws_chat: lobby}]\n"})
		s, err := site.Load(dir + "/site.yaml")
		if err == nil {
			_, err = s.Build()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestASiteDoesNotStartWithoutItsCluster(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"site.yaml": "cluster: unix:///no/such/redis\nmounts: [{path: /, ws_chat: lobby}]\n"})
	s, err := site.Load(dir + "/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := pagitest.New(app).Startup(t.Context()); err == nil || !strings.Contains(err.Error(), "redis") {
		t.Errorf("started: %v", err)
	}
}
