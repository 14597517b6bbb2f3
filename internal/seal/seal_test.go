package seal_test

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/seal"
)

func ring(t *testing.T, purpose string, ids ...string) *seal.Ring {
	t.Helper()
	var keys []seal.Key
	for _, id := range ids {
		keys = append(keys, seal.Key{ID: id, Secret: []byte(strings.Repeat(id, 32)[:32])})
	}
	r, err := seal.NewRing(purpose, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTokens(t *testing.T) {
	type kind struct {
		make func(r *seal.Ring, name string, plain []byte) string
		open func(r *seal.Ring, name, token string) ([]byte, bool)
	}
	for kindName, k := range map[string]kind{
		"signed": {(*seal.Ring).Sign, (*seal.Ring).Verify},
		"sealed": {(*seal.Ring).Seal, (*seal.Ring).Open},
	} {
		r := ring(t, "test", "new", "old")
		for _, plain := range []string{"", "x", strings.Repeat("secret", 500)} {
			token := k.make(r, "a", []byte(plain))
			if got, ok := k.open(r, "a", token); !ok || string(got) != plain {
				t.Errorf("%s: %q %v", kindName, got, ok)
			}
			for i := range min(len(token), 120) {
				changed := []byte(token)
				changed[i] ^= 1
				if _, ok := k.open(r, "a", string(changed)); ok {
					t.Errorf("%s: a token is changed at %d", kindName, i)
				}
				if _, ok := k.open(r, "a", token[:i]); ok {
					t.Errorf("%s: a token is cut at %d", kindName, i)
				}
			}
			for name, opened := range map[string]func() bool{
				"another name":      func() bool { _, ok := k.open(r, "b", token); return ok },
				"a longer token":    func() bool { _, ok := k.open(r, "a", token+"A"); return ok },
				"a line end":        func() bool { _, ok := k.open(r, "a", token+"\n"); return ok },
				"padding":           func() bool { _, ok := k.open(r, "a", token+"="); return ok },
				"another purpose":   func() bool { _, ok := k.open(ring(t, "other", "new"), "a", token); return ok },
				"another key":       func() bool { _, ok := k.open(ring(t, "test", "else"), "a", token); return ok },
				"the id of another": func() bool { _, ok := k.open(r, "a", strings.Replace(token, "new", "old", 1)); return ok },
				"no id":             func() bool { _, ok := k.open(r, "a", strings.Replace(token, "new", "", 1)); return ok },
				"the other kind": func() bool {
					_, ok := k.open(r, "a", map[byte]string{'s': "e", 'e': "s"}[token[0]]+token[1:])
					return ok
				},
				"a name in the name": func() bool { _, ok := k.open(r, "a\n"+token, token); return ok },
			} {
				if opened() {
					t.Errorf("%s: %s opens a token", kindName, name)
				}
			}
		}
		old := k.make(ring(t, "test", "old"), "a", []byte("kept"))
		if got, ok := k.open(r, "a", old); !ok || string(got) != "kept" {
			t.Errorf("%s: a token of the old key is not opened", kindName)
		}
		if token := k.make(r, "a", nil); !strings.Contains(token, ".new.") {
			t.Errorf("%s: %s is not made by the first key", kindName, token)
		}
	}
}
