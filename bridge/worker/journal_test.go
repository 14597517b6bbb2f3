package worker

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A log that stays blocked does not keep the group from stopping.
func TestStopWithABlockedLog(t *testing.T) {
	logger, _, _ := testkit.StuckLog(t)
	p := prepare(t, Options{Start: fakeStart("talks"), Logger: logger})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error)
	go func() { stopped <- p.Stop(context.Background()) }()
	if err := testkit.Await(t, stopped); err != nil {
		t.Error(err)
	}
}
