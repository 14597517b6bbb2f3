package pool

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
)

// What workers do that are processes of this one, those of a keeper do as well. All tests of this package run over leases
// with BRIDGE_CREW=lease; these are the quick ones.
func TestOverALease(t *testing.T) {
	t.Parallel()
	leased.Again(t, "^Test(BrokenProtocol|Reload$|ReloadWaits|ReloadUnderLoad|ReloadOfAZygote|Resize$|MaxRequests|WorkersServe|StopWaits|StopKills|Loaded|CircuitOpens|FramesOutOfOrder|UnderLoad|Counts$)")
}
