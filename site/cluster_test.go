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
		"cluster: localhost":                            "site.yaml:1:10: cluster.url: ",
		"cluster: nats://u:pass-word@":                  "site.yaml:1:10: cluster.url: address 1 has no host",
		"cluster: {peers: ['10.0.0.1:6222']}":           "cluster: needs either url or listen",
		"cluster: {url: nats://a, listen: a:1}":         "cluster: needs either url or listen",
		"cluster: {url: nats://a, secret: x}":           "peers and secret are for listen",
		"cluster: {url: nats://a, cert: x}":             "cert and key are needed together",
		"cluster: {url: redis://a, ca: x}":              "cert, key and ca are for listen",
		"cluster: {listen: 10.0.0.1:6222}":              "cluster.secret: is needed, because others can reach 10.0.0.1:6222",
		"cluster:\n  listen: 127.0.0.1:0\n  peers: [x]": "site.yaml:3:10: cluster.peers: number 1 must be host:port",
		"cluster: [a]":                                  "cluster: must be a mapping",
		"cluster: redis://localhost/0\nlifespan: off":   "lifespan: must not be off",
	} {
		dir := testkit.Tree(t, map[string]string{"site.yaml": text + "\nmounts: [{path: /, ws_chat: lobby}]\n"})
		s, err := site.Load(dir + "/site.yaml")
		if err == nil {
			_, err = s.Build()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "pass-word") {
			t.Errorf("a password is in %v", err)
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
