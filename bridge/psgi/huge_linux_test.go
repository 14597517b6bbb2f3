package psgi

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// hugeHeap is an application that tells whether its heap of some 16 MiB is in huge pages.
const hugeHeap = `
	my @list = map { [1, $_, 'a piece of text'] } 1 .. 64_000;
	sub {
		open my $in, '<', '/proc/self/smaps' or die;
		my ($in_heap, $kib) = (0, 0);
		while (<$in>) {
			$in_heap = /\[heap\]/ if /^[0-9a-f]+-/;
			$kib += $1 if $in_heap && /^AnonHugePages:\s+(\d+)/;
		}
		[200, [], [@list && $kib >= 8192 ? 'huge' : 'small']];
	}`

// A worker has its heap in huge pages, unless it shares it with a zygote.
func TestTheHeapIsInHugePages(t *testing.T) {
	out, err := exec.Command("perl", "-I../../perl/lib", "-MPagiBridge::Heap", "-e", `
		my @list = map { [1, $_, 'a piece of text'] } 1 .. 64_000; print PagiBridge::Heap::collapse()`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(out) == "0" {
		t.Skip("this system has no huge pages to collapse to (Linux 6.1 on x86_64 or aarch64, not [never])")
	}
	if got := mount(t, PSGI{Code: hugeHeap}).get("/").body; got != "huge" {
		t.Errorf("the pages of a worker of its own are %s", got)
	}
	setting, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(setting), "[always]") {
		t.Log("with preload the kernel decides, because the setting is [always]")
		return
	}
	if got := mount(t, PSGI{Code: hugeHeap, Processes: worker.Processes{Preload: true}}).get("/").body; got != "small" {
		t.Errorf("the pages of a worker that was forked are %s", got)
	}
}
