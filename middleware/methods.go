package middleware

import (
	"net/http"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// methodOf returns the method of a request; that of a WebSocket's handshake is GET.
func methodOf(scope *pagi.Scope) string { return or(scope.Method, http.MethodGet) }

// checkMethod reports an option that is not the name of a method.
func checkMethod(option, method string) error {
	if !headername.IsToken(method) {
		return pagi.BadOption(option, "%q is not a method", method)
	}
	return nil
}

// upper returns names of methods in upper case, as scopes have them.
func upper(methods []string) []string {
	all := make([]string, len(methods))
	for i, method := range methods {
		all[i] = strings.ToUpper(method)
	}
	return all
}
