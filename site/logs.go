package site

import (
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

// Logs configures the access log and the log.
type Logs struct {
	// AccessLog is a file, "-" for standard error, or "off". By default it is "-"
	// in development and "off" otherwise.
	AccessLog string `yaml:"access_log" path:"yes,-,off" help:"log requests to {FILE}, - for standard error (default: - in development, else none)"`
	// AccessLogFormat is common, clf, combined, tiny, json, or a format of your own.
	AccessLogFormat string `yaml:"access_log_format" default:"common" help:"write the access log as {FORMAT}: common, clf, combined, tiny, json, or a format of your own"`
	// AccessLogMaxSize is the size in bytes at which the file is rotated. AccessLogMaxAge is how
	// long rotated files are kept, AccessLogBackups how many of them. Any one of these turns
	// rotation on. Without a size the log is rotated at 100 MiB; without age and number rotated
	// files are kept for ever. AccessLogCompress compresses rotated files.
	AccessLogMaxSize  int64         `yaml:"access_log_max_size" unit:"bytes" help:"rotate the access log when it has {SIZE} (default 0: never)"`
	AccessLogMaxAge   time.Duration `yaml:"access_log_max_age" help:"remove a rotated access log after {SECONDS} (default 0: never)"`
	AccessLogBackups  int           `yaml:"access_log_backups" help:"keep at most {N} rotated access logs (default 0: all)"`
	AccessLogCompress bool          `yaml:"access_log_compress" help:"compress rotated access logs with gzip"`
	// LogFile is the file for all other records, instead of standard error.
	LogFile string `yaml:"log_file" path:"yes" change:"restart" help:"log everything but requests to {FILE} (default: standard error)"`
	// LogFormat is text or json.
	LogFormat string `yaml:"log_format" default:"text" change:"restart" help:"write the log as {FORMAT}: text or json"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level" default:"info" help:"log records from {LEVEL} on: debug, info, warn or error"`
}

// Rotated reports whether the gateway rotates the access log.
func (l *Logs) Rotated() bool {
	return l.AccessLogMaxSize > 0 || l.AccessLogMaxAge > 0 || l.AccessLogBackups > 0
}

func (l *Logs) check() error {
	var errs []error
	if _, err := server.ParseAccessFormat(l.AccessLogFormat); err != nil {
		errs = append(errs, pagi.BadOption("access_log_format", "%w", err))
	}
	if l.AccessLogMaxSize > 0 && l.AccessLogMaxSize < 1<<20 {
		errs = append(errs, pagi.BadOption("access_log_max_size", "must be at least 1048576 (1 MiB), is %d", l.AccessLogMaxSize))
	}
	if l.AccessLogMaxAge > 0 && l.AccessLogMaxAge < 24*time.Hour {
		errs = append(errs, pagi.BadOption("access_log_max_age", "must be at least 24h, is %v", l.AccessLogMaxAge))
	}
	if l.AccessLogCompress && !l.Rotated() {
		errs = append(errs, pagi.BadOption("access_log_compress", "needs one of access_log_max_size, access_log_max_age and access_log_backups"))
	}
	if l.Rotated() && (l.AccessLog == "" || l.AccessLog == "-" || l.AccessLog == "off") {
		errs = append(errs, pagi.BadOption("access_log", "must name a file, which is what access_log_max_size, access_log_max_age and access_log_backups are about"))
	}
	switch l.LogFormat {
	case "", "text", "json":
	default:
		errs = append(errs, pagi.BadOption("log_format", "must be text or json, is %q", l.LogFormat))
	}
	switch l.LogLevel {
	case "", "debug", "info", "warn", "error":
	default:
		errs = append(errs, pagi.BadOption("log_level", "must be debug, info, warn or error, is %q", l.LogLevel))
	}
	return errors.Join(errs...)
}
