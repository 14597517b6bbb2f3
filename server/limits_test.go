package server

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// The defaults on which the tests rely.
const (
	DefaultMaxHeaderSize   = 32 << 10
	DefaultHeaderTimeout   = 30 * time.Second
	DefaultShutdownTimeout = 30 * time.Second
)

func TestTheZeroValueOfALimitIsItsDefault(t *testing.T) {
	want := Limits{
		Limits: engine.Limits{MaxBodySize: 10 << 20, MaxHeaderCount: 100, HighWaterMark: engine.DefaultHighWaterMark, LowWaterMark: engine.DefaultLowWaterMark, MaxReceiveQueue: engine.DefaultMaxReceiveQueue}, MaxHeaderSize: DefaultMaxHeaderSize, H2MaxStreams: 100, H2ResetBurst: 1000, H2ResetRate: 33, H2ControlBurst: 1000, H2ControlRate: 100,
		MaxWSFrameSize: ws.DefaultMaxFrameSize, MaxWSMessageSize: ws.DefaultMaxMessageSize,
	}
	if diff := cmp.Diff(want, Limits{}.WithDefaults()); diff != "" {
		t.Error(diff)
	}
	times := Timeouts{Timeout: time.Minute, HeaderTimeout: DefaultHeaderTimeout, Timeouts: engine.Timeouts{BodyTimeout: 30 * time.Second, WriteTimeout: time.Minute}, ShutdownTimeout: DefaultShutdownTimeout, LifespanStartupTimeout: 90 * time.Second}
	if diff := cmp.Diff(times, Timeouts{}.WithDefaults()); diff != "" {
		t.Error(diff)
	}
	if l := (Limits{Limits: engine.Limits{MaxBodySize: -1}, H2ResetRate: 5}).WithDefaults(); l.MaxBodySize != -1 || l.H2ResetRate != 5 {
		t.Errorf("a value that is set is changed: %+v", l)
	}
}
