//go:build unix

package confine

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
)

// orderVariable carries the order from the gateway to the adapter.
const orderVariable = "PAGI_CONFINE"

// order is what the adapter does to itself.
type order struct {
	NoNewPrivileges bool           `json:"no_new_privileges,omitzero"`
	Nice            int            `json:"nice,omitzero"`
	ProcessMemory   int64          `json:"process_memory,omitzero"` // RLIMIT_DATA
	OpenFiles       int            `json:"open_files,omitzero"`     // RLIMIT_NOFILE
	Processes       int            `json:"processes,omitzero"`      // RLIMIT_NPROC
	Landlock        *landlockRules `json:"landlock,omitzero"`
	FewCapabilities bool           `json:"few_capabilities,omitzero"`
	Lock            int            `json:"lock,omitzero"` // the descriptor that keeps the directory of temporary files
	Done            bool           `json:"done,omitzero"` // all but the lock is done
}

// landlockRules are the files and ports that the adapter may use.
type landlockRules struct {
	Version int      `json:"version"` // of the interface of the kernel
	Files   bool     `json:"files,omitzero"`
	Read    []string `json:"read,omitzero"`
	Write   []string `json:"write,omitzero"`
	Network bool     `json:"network,omitzero"`
	Ports   ports    `json:"ports,omitzero"`
}

// Apply confines this process and everything that it will start, as the gateway has ordered it. It is called first in main:
// before it starts a process, opens a file or serves. On Linux the process becomes its own program once more, with the same
// number, arguments and descriptors. A process that no gateway has given an order is left as it is.
//
// After an error the process must end: it may be confined in part.
func Apply() error {
	text, ordered := os.LookupEnv(orderVariable)
	if !ordered {
		return nil
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("%s: %w", orderVariable, err)
	}
	if !o.Done {
		return fmt.Errorf("confine the adapter: %w", o.carryOut())
	}
	if o.Lock > 2 {
		syscall.CloseOnExec(o.Lock) // the lock is the adapter's, not that of what it starts
	}
	return os.Unsetenv(orderVariable)
}
