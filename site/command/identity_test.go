package command

import (
	"os/user"
	"testing"
)

// TestIdentityOfANumber: a user given by number gets nothing that is root's.
func TestIdentityOfANumber(t *testing.T) {
	var id identity
	if err := id.take(&user.User{Uid: "54321"}); err != nil || id.uid != 54321 || id.name != "54321" || id.home != "/" || len(id.groups) != 0 {
		t.Errorf("%+v, %v", id, err)
	}
}
