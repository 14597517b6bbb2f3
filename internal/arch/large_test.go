package arch

import (
	"os/exec"
	"strings"
	"testing"
)

// TestLibrariesDoNotLinkWhatIsLarge has the packages that other programs import. Package server of NATS would make
// those larger by 10 MB, go-plugin with gRPC by 7 MB.
func TestLibrariesDoNotLinkWhatIsLarge(t *testing.T) {
	linked := func(pkg string) string {
		t.Helper()
		out, err := exec.Command("go", "list", "-deps", module+"/"+pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, pkg := range []string{"pagi", "apps", "server", "middleware", "bridge/mux", "bridge/psgi", "pagi/pubsub", "pagi/pubsub/redispubsub"} {
		if strings.Contains(linked(pkg), "github.com/nats-io/") {
			t.Errorf("%s links NATS", pkg)
		}
		for _, name := range []string{"github.com/hashicorp/go-plugin", "google.golang.org/grpc", "go.opentelemetry.io/"} {
			if strings.Contains(linked(pkg), name) {
				t.Errorf("%s links %s", pkg, name)
			}
		}
	}
	for _, name := range []string{"github.com/hashicorp/go-plugin", "google.golang.org/grpc", "go.opentelemetry.io/otel/sdk"} {
		if !strings.Contains(linked("site"), name) {
			t.Errorf("site does not link %s: the test looks for the wrong name", name)
		}
	}
	if strings.Contains(linked("site"), "github.com/grpc-ecosystem/grpc-gateway") {
		t.Error("site links the gateway of gRPC, which the client of OTLP is not to need")
	}
	if strings.Contains(linked("pagi/pubsub/natspubsub"), "github.com/nats-io/nats-server/") {
		t.Error("pagi/pubsub/natspubsub links the server of NATS")
	}
	if !strings.Contains(linked("site"), "github.com/nats-io/nats-server/") {
		t.Error("site does not link the server of NATS: the test looks for the wrong name")
	}
}
