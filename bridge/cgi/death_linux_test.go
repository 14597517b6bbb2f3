package cgi

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestGatewayThatDies is the process TestScriptsDieWithTheGateway kills.
func TestGatewayThatDies(t *testing.T) {
	file := os.Getenv("CGI_TEST_PID_FILE")
	if file == "" {
		t.Skip("runs only as a child of TestScriptsDieWithTheGateway")
	}
	do(t, build(t, CGI{}), ask{target: "/polite.cgi?" + file})
}

func TestScriptsDieWithTheGateway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	gateway := exec.Command(os.Args[0], "-test.run=^TestGatewayThatDies$")
	gateway.Env = append(os.Environ(), "CGI_TEST_PID_FILE="+file)
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	pid := fileText(t, file)
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Wait(); err == nil {
		t.Error("the gateway ended well")
	}
	testkit.Eventually(t, "script "+pid+" to end", func() bool { return gone(pid) })
}
