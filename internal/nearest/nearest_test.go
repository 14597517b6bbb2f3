package nearest_test

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"port", "port", 0}, {"prot", "port", 1}, {"worker", "workers", 1},
		{"kitten", "sitting", 3}, {"ab", "ba", 1}, {"max-boby-size", "max-body-size", 1},
	} {
		if got := nearest.Distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestSuggestion(t *testing.T) {
	names := []string{"port", "path", "workers", "host", "listen"}
	for word, want := range map[string]string{
		"prot": `; did you mean "--port"?`, "worker": `; did you mean "--workers"?`, "lsiten": `; did you mean "--listen"?`, "xyz": "", "": "", "pat": `; did you mean "--path"?`,
	} {
		if got := nearest.Suggestion(word, "--", names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
