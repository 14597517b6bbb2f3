package pagi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func ExampleHeaders() {
	var h pagi.Headers
	h.Add("Set-Cookie", "a=1")
	h.Add("Set-Cookie", "b=2")
	h.Set("Content-Type", "text/plain")
	for _, line := range h {
		fmt.Println(line.Name, line.Value)
	}
	fmt.Println(h.Get("CONTENT-TYPE"))
	// Output:
	// set-cookie a=1
	// set-cookie b=2
	// content-type text/plain
	// text/plain
}

func TestHeadersAreFoundInAnyCase(t *testing.T) {
	h := pagi.NewHeaders("X-One", "1", "x-two", "2", "X-ONE", "3")
	if got := h.Get("x-OnE"); got != "1" {
		t.Errorf("Get = %q, want the first value", got)
	}
	if v, ok := h.Lookup("absent"); ok || v != "" {
		t.Errorf("Lookup of an absent header = %q, %v", v, ok)
	}
	if !h.Has("X-Two") || h.Has("x-three") {
		t.Error("Has is wrong")
	}
	if got := slices.Collect(h.Values("x-one")); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("Values = %q", got)
	}
	for range h.Values("x-one") {
		break // stopping early must be possible
	}
	if got := h.Joined("x-one"); got != "1, 3" {
		t.Errorf("Joined = %q", got)
	}
}

func TestHeadersKeepOrderAndCase(t *testing.T) {
	h := pagi.NewHeaders("A", "1", "B", "2", "a", "3", "C", "4", "A", "5")
	h.Set("a", "new")
	want := pagi.Headers{{"a", "new"}, {"b", "2"}, {"c", "4"}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("Set of a repeated header: %s", diff)
	}
	h.Set("D", "5")
	h.Del("B")
	want = pagi.Headers{{"a", "new"}, {"c", "4"}, {"d", "5"}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("Set of a new one, Del: %s", diff)
	}
}

func TestHeadersCloneSharesNothing(t *testing.T) {
	h := pagi.NewHeaders("a", "1", "b", "2")
	c := h.Clone()
	c.Set("a", "9")
	c.Del("b")
	if h.Get("a") != "1" || !h.Has("b") {
		t.Errorf("the original changed: %v", h)
	}
}

func TestHeaderNamesAreLoweredInASCIIOnly(t *testing.T) {
	h := pagi.NewHeaders("\u212Aey", "v") // Kelvin sign
	if h[0].Name != "\u212Aey" {
		t.Errorf("the Kelvin sign became %q", h[0].Name)
	}
	if pagi.EqualFold("\u212Aey", "key") || !pagi.EqualFold("ContenT-TypE", "cONTENT-tYPe") || pagi.EqualFold("a", "ab") {
		t.Error("EqualFold folds what it must not, or does not what it must")
	}
	if pagi.EqualFold("@", "`") {
		t.Error("EqualFold mixes up characters 32 apart that are no letters")
	}
}

func TestHeadersHasToken(t *testing.T) {
	h := pagi.NewHeaders("connection", "keep-alive, Upgrade", "accept", "text/html;q=0.9", "accept", "text/event-stream ; q=1")
	for _, c := range []struct {
		name, token string
		want        bool
	}{
		{"connection", "upgrade", true},
		{"Connection", "KEEP-ALIVE", true},
		{"connection", "close", false},
		{"accept", "text/event-stream", true},
		{"accept", "text/html", true},
		{"accept", "text/h", false},
		{"absent", "", false},
	} {
		if got := h.HasToken(c.name, c.token); got != c.want {
			t.Errorf("HasToken(%q, %q) = %v", c.name, c.token, got)
		}
	}
}

func TestNewHeadersRefusesAnOddCount(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	pagi.NewHeaders(strings.Fields("only-a-name")...)
}
