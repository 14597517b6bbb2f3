package redisclient_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/redisclient"
)

func TestOptions(t *testing.T) {
	o, err := redisclient.Options("redis://ann:secret@host:1234/2")
	if err != nil || o.Addr != "host:1234" || o.Username != "ann" || o.Password != "secret" || o.DB != 2 || o.MaxRetries != -1 {
		t.Errorf("%+v %v", o, err)
	}
	for _, wrong := range []string{"", "http://ann:secret@host", "redis://ann:secret@host:port", "redis://ann:secret@host/x"} {
		if _, err := redisclient.Options(wrong); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// Callers get the errors of commands. Package redis would also write a line to stderr for each.
func TestFailuresToDialAreNotPrinted(t *testing.T) {
	var log strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	o, err := redisclient.Options("unix://" + t.TempDir() + "/none")
	if err != nil {
		t.Fatal(err)
	}
	o.DialerRetries = 1
	client := redis.NewClient(o)
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a server answers")
	}
	if err := client.Close(); err != nil { // ends what logs
		t.Error(err)
	}
	if !strings.Contains(log.String(), "level=DEBUG") || strings.Contains(log.String(), "level=WARN") {
		t.Errorf("the log: %s", log.String())
	}
}
