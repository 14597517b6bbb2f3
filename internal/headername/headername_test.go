package headername

import (
	"net/http"
	"testing"
)

func TestAppendCanonicalSpellsAsNetHTTP(t *testing.T) {
	for _, name := range []string{
		"", "a", "-", "host", "HOST", "content-type", "x-served-by", "X-SERVED-BY", "x--y-", "-x", "www-authenticate", "etag", "1a-2b", "x_y-z", "a b-c", "é-x",
		"x-\u212a", "a:b", "x.y-z!w",
	} {
		want := http.CanonicalHeaderKey(name)
		if got := string(AppendCanonical([]byte("before "), name)); got != "before "+want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if got := Canonical(name); got != want {
			t.Errorf("Canonical(%q): %q, want %q", name, got, want)
		}
	}
}

func TestAppendCanonicalAllocatesNothing(t *testing.T) {
	b := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { AppendCanonical(AppendCanonical(b, "x-served-by"), "content-type") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendCanonical(b *testing.B) {
	room := make([]byte, 0, 64)
	for _, name := range []string{"content-type", "x-content-type-options", "x-served-by"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				AppendCanonical(room, name)
			}
		})
		b.Run(name+" as a string", func(b *testing.B) {
			for b.Loop() {
				_ = append(room, Canonical(name)...)
			}
		})
	}
}
