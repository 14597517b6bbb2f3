package middleware

import (
	"context"
	"errors"
	"slices"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// SecurityHeaders adds headers that make browsers stricter. Each option is one
// header's value; where it has a default, "" stands for that and "off" sends no
// such header. A header the application has set itself stays as it is.
type SecurityHeaders struct {
	// XFrameOptions says who may show the page in a frame; "" means SAMEORIGIN.
	XFrameOptions string `yaml:"x_frame_options"`
	// XContentTypeOptions forbids guessing the type of a file; "" means nosniff.
	XContentTypeOptions string `yaml:"x_content_type_options"`
	// XXSSProtection is for old browsers; "" means "1; mode=block".
	XXSSProtection string `yaml:"x_xss_protection"`
	// ReferrerPolicy says how much of an address other sites get to see; "" means
	// strict-origin-when-cross-origin.
	ReferrerPolicy string `yaml:"referrer_policy"`
	// StrictTransportSecurity is sent over https only; not sent by default.
	StrictTransportSecurity string `yaml:"strict_transport_security"`
	// ContentSecurityPolicy is not sent by default.
	ContentSecurityPolicy string `yaml:"content_security_policy"`
	// PermissionsPolicy is not sent by default.
	PermissionsPolicy string `yaml:"permissions_policy"`
	// CrossOriginOpenerPolicy (COOP) is not sent by default.
	CrossOriginOpenerPolicy string `yaml:"cross_origin_opener_policy"`
	// CrossOriginEmbedderPolicy (COEP) is not sent by default.
	CrossOriginEmbedderPolicy string `yaml:"cross_origin_embedder_policy"`
	// CrossOriginResourcePolicy (CORP) is not sent by default.
	CrossOriginResourcePolicy string `yaml:"cross_origin_resource_policy"`
}

func init() { parts.Middleware[SecurityHeaders]("security_headers") }

// securityHeader ties an option to its header.
type securityHeader struct {
	option, name, value string
	httpsOnly           bool
}

// lines returns the headers that are to be sent.
func (m SecurityHeaders) lines() []securityHeader {
	all := []securityHeader{
		{"x_frame_options", "x-frame-options", or(m.XFrameOptions, "SAMEORIGIN"), false},
		{"x_content_type_options", "x-content-type-options", or(m.XContentTypeOptions, "nosniff"), false},
		{"x_xss_protection", "x-xss-protection", or(m.XXSSProtection, "1; mode=block"), false},
		{"referrer_policy", "referrer-policy", or(m.ReferrerPolicy, "strict-origin-when-cross-origin"), false},
		{"strict_transport_security", "strict-transport-security", m.StrictTransportSecurity, true},
		{"content_security_policy", "content-security-policy", m.ContentSecurityPolicy, false},
		{"permissions_policy", "permissions-policy", m.PermissionsPolicy, false},
		{"cross_origin_opener_policy", "cross-origin-opener-policy", m.CrossOriginOpenerPolicy, false},
		{"cross_origin_embedder_policy", "cross-origin-embedder-policy", m.CrossOriginEmbedderPolicy, false},
		{"cross_origin_resource_policy", "cross-origin-resource-policy", m.CrossOriginResourcePolicy, false},
	}
	sent := all[:0]
	for _, h := range all {
		if h.value != "" && h.value != "off" {
			sent = append(sent, h)
		}
	}
	return sent
}

// Check reports a value that cannot go into a header.
func (m SecurityHeaders) Check() error {
	var errs []error
	for _, h := range m.lines() {
		errs = append(errs, checkValue(h.option, h.value))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m SecurityHeaders) Wrap(next pagi.App) pagi.App {
	on, lines := onward(next), m.lines()
	plain, secure := adding(lines, false), adding(lines, true)
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		if p.scope.Scheme == "https" || p.scope.Scheme == "wss" {
			p.edit(secure, len(lines))
		} else {
			p.edit(plain, len(lines))
		}
		return on(ctx, p)
	})
}

// adding returns the edit of responses, over https with secure set.
func adding(lines []securityHeader, secure bool) edit {
	lines = slices.DeleteFunc(slices.Clone(lines), func(line securityHeader) bool { return line.httpsOnly && !secure })
	return edit{change: func(b beginning, _ string) beginning {
		b.own()
		for i := range lines {
			if !b.headers.Has(lines[i].name) {
				b.headers.Add(lines[i].name, lines[i].value)
			}
		}
		return b
	}}
}
