package psgi

import (
	"testing"
)

func TestHello(t *testing.T) {
	m := code(t, `sub { [200, ['Content-Type' => 'text/plain'], ['Hello ', $_[0]{PATH_INFO}]] }`)
	r := m.get("/x")
	if r.err != nil || r.status != 200 || r.body != "Hello /x" || r.headers.Get("content-type") != "text/plain" {
		t.Fatalf("%+v", r)
	}
}
