package redisclient_test

import (
	"strings"
	"testing"

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
