package cgi

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestNothingIsLeftAfterManyRuns counts descriptors, children and goroutines. The
// variable CGI_TEST_RUNS says after how many runs.
func TestNothingIsLeftAfterManyRuns(t *testing.T) {
	runs := 500
	if testing.Short() {
		runs = 50
	}
	if more, err := strconv.Atoi(os.Getenv("CGI_TEST_RUNS")); err == nil {
		runs = more
	}
	application := build(t, CGI{KillAfter: 50 * time.Millisecond})
	requests := []ask{
		{target: "/hello.cgi"},
		{method: "POST", target: "/cat.cgi", body: strings.Repeat("x", 1000)},
		{method: "POST", target: "/cat.cgi", body: strings.Repeat("x", 100_000), chunked: true},
		{method: "POST", target: "/noread.cgi", body: strings.Repeat("x", 200_000), chunked: true},
		{target: "/nointerpreter.cgi"},
		{target: "/crash.cgi"},
		{target: "/quietorphan.cgi"},
		{target: "/none.cgi"},
		{target: "/raw.cgi?nonsense"},
		{target: "/redirect.cgi?/hello.cgi"},
		{target: "/leaves.cgi"},
		{target: "/nph-raw.cgi?HTTP/1.1%20200%20OK%0A%0Ax"},
	}
	do(t, application, requests[0]) // opens what is opened once
	for range 2 {
		runtime.GC() // closes the directories that the applications of other tests have open
	}
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	for i := range runs {
		do(t, application, requests[i%len(requests)])
	}
	testkit.Eventually(t, "the descriptors to be closed", func() bool { return descriptors(t) <= fds })
	if kids := children(t); kids != "" {
		t.Errorf("children are left: %s", kids)
	}
	testkit.Eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// children lists this process's children, zombies too.
func children(t *testing.T) string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Skipf("the kernel does not list children: %v", err)
	}
	var all []string
	for _, task := range tasks {
		list, err := os.ReadFile(task)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = append(all, strings.Fields(string(list))...)
	}
	return strings.Join(all, " ")
}

// residentPeak is the most memory this process has had, in bytes, since
// resetPeak.
func residentPeak(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Skip("the kernel does not tell the peak")
	return 0
}

func resetPeak(t testing.TB) {
	t.Helper()
	runtime.GC()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skipf("cannot reset the peak: %v", err)
	}
}
