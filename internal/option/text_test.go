package option

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"
)

type texted struct {
	Name    string            `yaml:"name"`
	Wait    time.Duration     `yaml:"wait"`
	Env     map[string]string `yaml:"env"`
	From    []netip.Prefix    `yaml:"from"`
	Deep    *texted           `yaml:"deep"`
	Any     any               `yaml:"any"`
	Mount   string            `yaml:"-"`
	Logger  *slog.Logger      `yaml:"-"`
	Changed func()            `yaml:"-"`
	hidden  int
}

func TestTextTellsWhetherOptionsAreTheSame(t *testing.T) {
	make := func() *texted {
		return &texted{
			Name: "a", Wait: time.Second, Env: map[string]string{"A": "1", "B": "2"}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Deep: &texted{Name: "b"}, Any: map[string]any{"x": []any{1, "2"}}, Mount: "/", Logger: slog.Default(), Changed: func() {}, hidden: 1,
		}
	}
	same := func(change func(*texted)) bool {
		o := make()
		change(o)
		return Text(o) == Text(make())
	}
	for name, change := range map[string]func(*texted){
		"nothing":               func(*texted) {},
		"another logger":        func(o *texted) { o.Logger = slog.New(slog.DiscardHandler) },
		"another function":      func(o *texted) { o.Changed = func() { panic(1) } },
		"what is not an option": func(o *texted) { o.hidden = 2 },
	} {
		if !same(change) {
			t.Errorf("%s: it is not the same any more", name)
		}
	}
	for name, change := range map[string]func(*texted){
		"a text":                   func(o *texted) { o.Name = "a " },
		"a duration":               func(o *texted) { o.Wait++ },
		"a value of a map":         func(o *texted) { o.Env["B"] = "3" },
		"a further key":            func(o *texted) { o.Env["C"] = "" },
		"a value in other words":   func(o *texted) { o.From[0] = netip.MustParsePrefix("10.0.0.0/9") },
		"a struct below":           func(o *texted) { o.Deep.Name = "c" },
		"no struct below":          func(o *texted) { o.Deep = nil },
		"a value of any type":      func(o *texted) { o.Any = map[string]any{"x": []any{1, "3"}} },
		"a text of the gateway's":  func(o *texted) { o.Mount = "/b" },
		"no function":              func(o *texted) { o.Changed = nil },
		"a text between two texts": func(o *texted) { o.Name = `a" Wait:1` },
	} {
		if same(change) {
			t.Errorf("%s: the change is not seen", name)
		}
	}
}
