package middleware

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A problem of a password file is logged when it appears, and not at each look at the file.
func TestAProblemOfAPasswordFileIsLoggedOnce(t *testing.T) {
	name := filepath.Join(testkit.Tree(t, map[string]string{"users": "ann:{PLAIN}x\n"}), "users")
	var log testkit.Log
	f, err := openPasswordFile(name, nil, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		f.look(t.Context())
		f.look(t.Context())
		if err := os.WriteFile(name, []byte("ann:{PLAIN}y\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		f.look(t.Context())
	}
	if n := strings.Count(log.String(), "no such file"); n != 2 {
		t.Errorf("a file that was missing twice was logged %d times: %s", n, log.String())
	}
}
