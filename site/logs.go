package site

import (
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

// Logs say what is written where.
type Logs struct {
	// AccessLog is a file, "-" for standard error, or "off". By default it is "-"
	// in development and "off" otherwise.
	AccessLog string `yaml:"access_log"`
	// AccessLogFormat is common, clf, combined, tiny, json, or a format of your own.
	AccessLogFormat string `yaml:"access_log_format"`
	// AccessLogMaxSize is from how many bytes on the file is put aside, AccessLogMaxAge
	// for how long what was put aside is kept, and AccessLogBackups how many of it. With
	// one of them the log is rotated: at 100 MiB where no size is given, and for ever
	// kept where neither age nor number is. AccessLogCompress packs what was put aside.
	AccessLogMaxSize  int64         `yaml:"access_log_max_size"`
	AccessLogMaxAge   time.Duration `yaml:"access_log_max_age"`
	AccessLogBackups  int           `yaml:"access_log_backups"`
	AccessLogCompress bool          `yaml:"access_log_compress"`
	// LogFile is where everything else is written instead of standard error.
	LogFile string `yaml:"log_file" change:"restart"`
	// LogFormat is text or json.
	LogFormat string `yaml:"log_format" change:"restart"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
}

// Rotated reports whether the access log is put aside from time to time.
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
