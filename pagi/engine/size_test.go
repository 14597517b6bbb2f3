package engine

import (
	"testing"
	"unsafe"
)

// An exchange is allocated for every request, and the allocator's next size is 1152. An object of this size has a header of 8
// bytes.
func TestExchangeFitsItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(exchange{}); size > 1024-8 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("an exchange has %d bytes", size)
	}
}
