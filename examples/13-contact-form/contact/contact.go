// Package contact is a form with an attachment.
package contact

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

//go:embed page.html
var page string

// extensions are the media types that an attachment may have, and what a saved file's name ends in.
var extensions = map[string]string{
	"application/pdf": "pdf",
	"image/jpeg":      "jpg",
	"image/png":       "png",
	"image/gif":       "gif",
	"text/plain":      "txt",
}

type form struct {
	uploads string
}

// New returns the application. It keeps attachments in the directory uploads, which its startup makes.
func New(uploads string) pagi.App {
	f := &form{uploads}
	r := &endpoint.Router{}
	r.Get("/", look.Page(page))
	r.Get("/style.css", look.Style)
	r.Post("/submit", f.submit)
	var hooks lifespan.Hooks
	hooks.Startup = append(hooks.Startup, func(context.Context, map[string]any) error { return os.MkdirAll(uploads, 0o700) })
	return pagi.Chain(r, hooks)
}

type message struct {
	Name      string `json:"name"`
	Email     string `json:"email"`
	Subject   string `json:"subject" form:"subject,default=general"`
	Message   string `json:"message"`
	Subscribe int    `json:"subscribe" form:"-"`
	// Attachment is the name under which the file is kept; nil without one.
	Attachment *string `json:"attachment" form:"-"`
}

func (f *form) submit(c *endpoint.Context) (*response.Response, error) {
	c.Limits = request.Limits{File: 5 << 20}
	var m message
	if err := c.DecodeForm(&m); err != nil {
		return nil, err
	}
	fields, err := c.Form()
	if err != nil {
		return nil, err
	}
	if fields.Get("subscribe") == "yes" {
		m.Subscribe = 1
	}
	wrong := m.mistakes()
	if c.IsMultipart() {
		parts, err := c.Multipart()
		if err != nil {
			return nil, err
		}
		if file := parts.File("attachment"); file != nil && file.Size > 0 {
			extension, allowed := extensions[file.ContentType()]
			switch {
			case !allowed:
				wrong = append(wrong, "File type not allowed: "+file.ContentType())
			case len(wrong) == 0:
				name := rand.Text() + "." + extension
				if err := file.Save(filepath.Join(f.uploads, name)); err != nil {
					return nil, fmt.Errorf("attachment: %w", err)
				}
				m.Attachment = &name
			}
		}
	}
	if len(wrong) > 0 {
		return response.JSON(map[string]any{"success": 0, "errors": wrong}).Status(400), nil
	}
	if long := []rune(m.Message); len(long) > 100 {
		m.Message = string(long[:100]) + "..."
	}
	return response.JSON(map[string]any{"success": 1, "message": "Your message has arrived.", "data": m}), nil
}

func (m *message) mistakes() (wrong []string) {
	if m.Name == "" {
		wrong = append(wrong, "Name is required")
	}
	if m.Email == "" {
		wrong = append(wrong, "Email is required")
	}
	if !strings.Contains(m.Email, "@") {
		wrong = append(wrong, "Email must contain @")
	}
	if m.Message == "" {
		wrong = append(wrong, "Message is required")
	}
	return wrong
}
