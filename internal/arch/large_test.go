package arch

import (
	"os/exec"
	"strings"
	"testing"
)

// TestLibrariesDoNotLinkNATS has the packages that other programs import. Package server of NATS would make
// those larger by 10 MB.
func TestLibrariesDoNotLinkNATS(t *testing.T) {
	linked := func(pkg string) string {
		t.Helper()
		out, err := exec.Command("go", "list", "-deps", module+"/"+pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, pkg := range []string{"pagi", "apps", "server", "middleware", "pagi/pubsub", "pagi/pubsub/redispubsub"} {
		if strings.Contains(linked(pkg), "github.com/nats-io/") {
			t.Errorf("%s links NATS", pkg)
		}
	}
	if strings.Contains(linked("pagi/pubsub/natspubsub"), "github.com/nats-io/nats-server/") {
		t.Error("pagi/pubsub/natspubsub links the server of NATS")
	}
	if !strings.Contains(linked("site"), "github.com/nats-io/nats-server/") {
		t.Error("site does not link the server of NATS: the test looks for the wrong name")
	}
}
