// Package tlsinfo is an application that reads the extension tls of its scope.
package tlsinfo

import (
	"encoding/json"
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// Info is what the application tells. ClientCert is nil for a client without a certificate.
type Info struct {
	TLSVersion  string  `json:"tls_version"`
	CipherSuite string  `json:"cipher_suite"`
	ClientCert  *string `json:"client_cert"`
}

// New returns the application.
func New() pagi.App { return endpoint.Func(tell) }

func tell(c *endpoint.Context) (*response.Response, error) {
	tls := c.Scope().TLS()
	if tls == nil {
		return response.Text("Connection is not using TLS"), nil
	}
	info := Info{TLSVersion: fmt.Sprintf("0x%04x", tls.Version), CipherSuite: fmt.Sprintf("0x%04x", tls.CipherSuite)}
	if tls.ClientCertName != "" {
		info.ClientCert = &tls.ClientCertName
	}
	text, err := json.MarshalIndent(info, "", "   ")
	return response.Text("TLS info:\n" + string(text) + "\n"), err
}
