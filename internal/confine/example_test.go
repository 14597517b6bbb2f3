//go:build linux

package confine_test

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/pagi-go/pagi-bridge/internal/confine"
)

// The gateway starts an adapter. The adapter here is this program again, which TestMain makes call Apply and run a shell.
func ExampleIsolation_Prepare() {
	isolation := confine.Isolation{
		PrivateTmp: true,
		OpenFiles:  256,
		Nice:       5,
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"confined-test-adapter", "/bin/sh", "-c", `echo $(ulimit -n) files, nice $(nice); : >"$TMPDIR/x"`}
	cmd.Stdout = os.Stdout
	plan, err := isolation.Prepare(cmd, confine.Needs{Read: []string{"/usr/share/perl"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, line := range plan.Missing() {
		fmt.Println("the system lacks", line)
	}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
	}
	_ = cmd.Wait() // the state has what it would tell
	fmt.Println(plan.Ended(cmd.ProcessState.String()))
	if err := plan.Close(); err != nil { // removes the directory
		fmt.Println(err)
	}
	// Output:
	// 256 files, nice 5
	// exit status 0
}

// Mounts whose options mean the same share an adapter.
func ExampleIsolation_Key() {
	shop := confine.Isolation{User: "shop", Read: []string{"/srv/shop", "/srv/lib"}}
	admin := confine.Isolation{User: "shop", Read: []string{"/srv/lib", "/srv/shop/"}}
	wiki := confine.Isolation{User: "wiki"}
	fmt.Println(shop.Key() == admin.Key(), shop.Key() == wiki.Key())
	// Output: true false
}
