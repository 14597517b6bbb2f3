package server

import (
	"fmt"

	"github.com/pagi-go/pagi-bridge/server/accesslog"
)

// AccessFormat is a compiled access log format. accesslog.Format lists its atoms.
type AccessFormat = accesslog.Format

// ParseAccessFormat compiles a format string or a name, as accesslog.ParseFormat does.
func ParseAccessFormat(format string) (AccessFormat, error) {
	f, err := accesslog.ParseFormat(format)
	if err != nil {
		err = fmt.Errorf("server: %w", err)
	}
	return f, err
}

// accessOptions returns the options of s about the access log.
func (s *Server) accessOptions() accesslog.Options {
	return accesslog.Options{Writer: s.AccessLog, Format: s.AccessLogFormat}
}

// checkAccess reports what is wrong with them.
func (s *Server) checkAccess() error {
	_, err := ParseAccessFormat(s.AccessLogFormat)
	return err
}
