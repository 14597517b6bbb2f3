package control_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// The generated code is what protoc and the pinned generators make of the proto file.
func TestTheGeneratedCodeIsCurrent(t *testing.T) {
	testkit.Tool(t, "protoc", "protobuf-compiler")
	out := t.TempDir()
	cmd := exec.Command("../../../scripts/generate")
	cmd.Env = append(os.Environ(), "OUT="+out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, name := range []string{"plugin.pb.go", "plugin_grpc.pb.go"} {
		want, err := os.ReadFile(filepath.Join(out, "plugin/internal/pluginpb", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("../pluginpb", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(withoutVersions(got), withoutVersions(want)) {
			t.Errorf("%s is not what make generate makes", name)
		}
	}
}

// withoutVersions leaves out the line with protoc's own version, which is that of the system.
func withoutVersions(text []byte) []byte {
	var lines [][]byte
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("// \tprotoc ")) && !bytes.HasPrefix(line, []byte("// - protoc ")) {
			lines = append(lines, line)
		}
	}
	return bytes.Join(lines, nil)
}
