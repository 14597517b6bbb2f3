package site_test

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// notTheServers are settings that the gateway or its mounts deal with.
var notTheServers = []string{
	"User", "Group", "Umask", "PidFile", "StatusSocket", "Environment", "Workers", "MinWorkers", "MaxWorkers", "MaxRequests", "MaxAge", "MaxRSS",
	"Reload", "Preload", "Perl", "Include", "Logs", "AccessLog", "AccessLogMaxSize", "AccessLogMaxAge", "AccessLogBackups", "AccessLogCompress",
	"LogFile", "LogFormat", "LogLevel", "TLS", "SocketMode",
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

// TestDefaultsAreWhatIsWritten holds the page against the constants.
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
		"max_body_size": server.DefaultMaxBodySize, "max_header_size": server.DefaultMaxHeaderSize, "max_header_count": server.DefaultMaxHeaderCount,
		"max_ws_frame_size": server.DefaultMaxWSFrameSize, "max_ws_message_size": server.DefaultMaxWSMessageSize, "max_receive_queue": pagi.DefaultMaxReceiveQueue,
		"timeout": server.DefaultTimeout, "header_timeout": server.DefaultHeaderTimeout, "body_timeout": server.DefaultBodyTimeout, "write_timeout": server.DefaultWriteTimeout,
		"shutdown_timeout": server.DefaultShutdownTimeout, "lifespan_startup_timeout": 90 * time.Second,
		"h2_max_concurrent_streams": server.DefaultH2MaxStreams, "h2_rst_burst": server.DefaultH2ResetBurst, "h2_rst_rate": server.DefaultH2ResetRate,
		"h2_control_burst": server.DefaultH2ControlBurst, "h2_control_rate": server.DefaultH2ControlRate,
		"write_high_watermark": pagi.DefaultHighWaterMark, "write_low_watermark": pagi.DefaultLowWaterMark,
	} {
		got := any(written[name])
		if _, is := want.(time.Duration); is {
			got, _ = time.ParseDuration(written[name]) // 0 if it is none
		} else {
			want = fmt.Sprint(want)
		}
		if got != want {
			t.Errorf("%s: the page says %q, it is %v", name, written[name], want)
		}
	}
}
