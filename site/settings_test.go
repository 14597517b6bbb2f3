package site_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// notTheServers are the settings that the gateway or its mounts use, not the server.
var notTheServers = []string{
	"User", "Group", "Umask", "PidFile", "StatusSocket", "MetricsListen", "Hub", "Cluster", "Environment", "Limits", "Timeouts", "Processes", "Workers", "MinWorkers", "MaxWorkers", "MaxRequests", "MaxAge", "MaxRSS",
	"Reload", "ReloadDirs", "Preload", "Perl", "Lib", "Logs", "AccessLog", "AccessLogMaxSize", "AccessLogMaxAge", "AccessLogBackups", "AccessLogCompress",
	"LogFile", "LogFormat", "LogLevel", "TLS", "SocketMode", "Isolate", "Cache", "Tracing", "Services", "Cron",
	"SlowLog", "SlowRequest", "StackSignal",
}

// TestSettingsReachTheServer gives each setting a value of its own and looks for it.
func TestSettingsReachTheServer(t *testing.T) {
	renamed := map[string]string{"ListenerBacklog": "Backlog"}
	var s site.Settings
	settings := reflect.ValueOf(&s).Elem()
	var names []string
	for i, f := range reflect.VisibleFields(settings.Type()) {
		if slices.Contains(notTheServers, f.Name) {
			continue
		}
		names = append(names, f.Name)
		switch v := settings.FieldByIndex(f.Index); {
		case v.CanInt():
			v.SetInt(int64(1000 + i))
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.Kind() == reflect.String:
			v.SetString(f.Name)
		default:
			v.Set(reflect.ValueOf([]string{f.Name}))
		}
	}
	s.SocketMode = "0640"
	made := s.Server()
	for _, name := range names {
		to := name
		if other, ok := renamed[name]; ok {
			to = other
		}
		got := reflect.ValueOf(made).Elem().FieldByName(to)
		if !got.IsValid() {
			t.Errorf("the server has no %s", to)
			continue
		}
		if want := settings.FieldByName(name).Convert(got.Type()); !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if made.SocketMode != 0o640 {
		t.Errorf("SocketMode: %o", made.SocketMode)
	}
	if len(names) < 30 {
		t.Errorf("only %d settings were looked at", len(names))
	}
}

func TestEachSettingWithADefaultSaysWhatZeroMeans(t *testing.T) {
	meansDefault := []string{"workers", "write_high_watermark", "write_low_watermark"}
	for _, f := range option.Fields(&site.Settings{}) {
		if f.Value.CanInt() && f.Tag.Get("default") != "" && f.Tag.Get("zero") == "" && !slices.Contains(meansDefault, f.Name) {
			t.Errorf("%s has no tag zero", f.Name)
		}
	}
	for text, want := range map[string]string{
		"h2_rst_rate: 0":       "site.yaml:1:14: h2_rst_rate: must be 1 or more; h2_rst_burst: 0 turns the limit off",
		"h2_control_rate: 0":   "site.yaml:1:18: h2_control_rate: must be 1 or more; h2_control_burst: 0 turns the limit off",
		"h2_control_rate: -1":  "site.yaml:1:18: h2_control_rate: must not be negative, is -1",
		"h2_control_burst: 0":  "",
		"shutdown_timeout: 0s": "",
	} {
		_, got := loadTree(t, map[string]string{"site.yaml": text + "\nmounts: [{file: .}]\n"}, nil)
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	s := site.Settings{Limits: server.Limits{H2ResetRate: -1}}
	if err := s.Check(); err == nil || err.Error() != "h2_rst_rate: must not be negative, is -1" {
		t.Errorf("a rate of -1: %v", err)
	}
}

// TestDefaultsAreWhatIsWritten holds the page against numbers that are to stay.
func TestDefaultsAreWhatIsWritten(t *testing.T) {
	page, err := os.ReadFile("../docs/site.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.ReplaceAll(line, "`", ""), "|")
		if len(cells) < 5 {
			continue
		}
		values := strings.Split(cells[3], ",")
		for i, name := range strings.Split(cells[1], ",") { // "a, b" with "1, 2"
			name = strings.TrimSpace(name)
			if _, known := written[name]; !known && i < len(values) {
				written[name], _, _ = strings.Cut(strings.TrimSpace(values[i]), " ")
			}
		}
	}
	for name, want := range map[string]any{
		"max_body_size": 10 << 20, "max_header_size": 32 << 10, "max_header_count": 100,
		"max_ws_frame_size": 64 << 10, "max_ws_message_size": 1 << 20, "max_receive_queue": 1000,
		"timeout": time.Minute, "header_timeout": 30 * time.Second, "body_timeout": 30 * time.Second, "write_timeout": time.Minute,
		"shutdown_timeout": 30 * time.Second, "lifespan_startup_timeout": 90 * time.Second,
		"h2_max_concurrent_streams": 100, "h2_rst_burst": 1000, "h2_rst_rate": 33,
		"h2_control_burst": 1000, "h2_control_rate": 100,
		"write_high_watermark": engine.DefaultHighWaterMark, "write_low_watermark": engine.DefaultLowWaterMark,
	} {
		got, err := any(nil), error(nil)
		if _, is := want.(time.Duration); is {
			got, err = time.ParseDuration(written[name])
		} else {
			got, err = option.ParseSize(written[name])
			want = int64(want.(int))
		}
		if err != nil || got != want {
			t.Errorf("%s: the page says %q, it is %v", name, written[name], want)
		}
	}
}
