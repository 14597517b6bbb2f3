package site

import (
	"maps"
	"slices"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
)

// Grammar is what may stand in a site file, as Load reads it. The options are those of the same structs. Their values are
// those of a struct that belongs to the Grammar alone.
type Grammar struct {
	// Site are the keys of the top beside "mounts", "middleware" and "include", which have forms of their own.
	Site []option.Field
	// Mount are the keys of every mount beside "middleware" and the key of its kind.
	Mount []option.Field
	// Route are the keys that a mount has in addition as a route of a router.
	Route []option.Field
	// Middleware are the keys of every middleware beside its options.
	Middleware []option.Field
	// Answers are the keys of a router whose values are mounts that answer in place of its routes.
	Answers []string
	// Kinds are the kinds of mounts except KindGo, with their options.
	Kinds map[string]KindGrammar
	// GoApps are the options of the applications that a mount of KindGo can name, Middlewares those of all middleware.
	GoApps, Middlewares map[string][]option.Field
}

// KindGrammar is what may stand in a mount of one kind.
type KindGrammar struct {
	Options []option.Field
	// Main is the option that a text as the value of the kind's key stands for, "" if there is none.
	Main string
	// List says that the value is a list of mounts: of routes for KindRouter, of other parts for KindCascade and KindShadow.
	List bool
}

// NewGrammar returns the grammar with the kinds, applications and middleware that are registered.
func NewGrammar() *Grammar {
	g := &Grammar{
		Site: option.Fields(&Settings{}), Mount: option.Fields(&Mount{}), Route: option.Fields(&RouteOptions{}),
		Middleware: option.Fields(&Middleware{}), Answers: slices.Clone(answerKeys),
		Kinds: map[string]KindGrammar{}, GoApps: map[string][]option.Field{}, Middlewares: map[string][]option.Field{},
	}
	for name, k := range kinds {
		g.Kinds[name] = KindGrammar{Options: option.Fields(k.new()), Main: k.main(""), List: holdsParts(name) || name == KindRouter}
	}
	for _, name := range parts.GoAppNames() {
		g.GoApps[name] = option.Fields(parts.NewGoApp(name))
	}
	for _, name := range parts.MiddlewareNames() {
		g.Middlewares[name] = option.Fields(parts.NewMiddleware(name))
	}
	return g
}

// KindNames returns the names of all kinds of mounts, sorted.
func (g *Grammar) KindNames() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(g.Kinds)), KindGo)))
}
