package site

import (
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// RegisterApp makes an application available to site files as "go: name". make is called for every
// mount. If it returns a pointer to a struct, the struct's exported fields are options of the
// mount, named by their yaml tags. An application that implements pagi.Checker is checked.
//
//	site.RegisterApp("hello", func() pagi.App { return &Hello{Greeting: "Hi"} })
//
// RegisterApp panics if the name is already registered.
func RegisterApp(name string, make func() pagi.App) {
	parts.AddGoApp("site.RegisterApp", name, make)
}

// RegisterMiddleware makes a middleware available to the middleware lists of site
// files under name. make returns a pointer to a struct whose exported fields are
// the options; otherwise it works as RegisterApp does.
func RegisterMiddleware(name string, make func() pagi.Middleware) {
	parts.AddMiddleware("site.RegisterMiddleware", name, make)
}
