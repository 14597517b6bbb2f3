package pagi_test

import (
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestStashIsSharedByAllLayers(t *testing.T) {
	outer := &pagi.Scope{Type: pagi.TypeHTTP, Stash: &pagi.Stash{}}
	inner := outer.With("app.user", "ann").Mount("")
	inner.Stash.Set("shop.cart", 3)
	if v, ok := outer.Stash.Get("shop.cart"); !ok || v != 3 {
		t.Errorf("the outer layer finds %v, %v", v, ok)
	}
	type own struct{}
	inner.Stash.Set(own{}, nil)
	if v, ok := outer.Stash.Get(own{}); !ok || v != nil {
		t.Errorf("a nil value: %v, %v", v, ok)
	}
	if n := len(outer.Stash.Keys()); n != 2 {
		t.Errorf("%d keys", n)
	}
	outer.Stash.Delete("shop.cart")
	if _, ok := inner.Stash.Get("shop.cart"); ok {
		t.Error("a value is there after Delete")
	}
	outer.Stash.Clear()
	if n := len(inner.Stash.Keys()); n != 0 {
		t.Errorf("%d keys after Clear", n)
	}
}

func TestStashOnce(t *testing.T) {
	var stash pagi.Stash
	made := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if v := stash.Once("key", func() any { made++; return made }); v != 1 {
				t.Errorf("got %v", v)
			}
		})
	}
	wg.Wait()
}

func TestNilStashIsEmpty(t *testing.T) {
	var stash *pagi.Stash
	stash.Delete("key")
	stash.Clear()
	if _, ok := stash.Get("key"); ok || stash.Keys() != nil {
		t.Error("a nil Stash has a value")
	}
}
