package command

import (
	"os/user"
	"testing"
)

// TestIdentityOfANumber: what is root's is not left to it.
func TestIdentityOfANumber(t *testing.T) {
	var id identity
	if err := id.take(&user.User{Uid: "54321"}); err != nil || id.uid != 54321 || id.name != "54321" || id.home != "/" || len(id.groups) != 0 {
		t.Errorf("%+v, %v", id, err)
	}
}
