package refusal

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Values of the option follow_symlinks.
const (
	FollowOff   = "false"
	FollowAll   = "true"
	FollowOwner = "owner"
)

// OptionFollow is the option's name.
const OptionFollow = "follow_symlinks"

// CheckFollow reports a wrong value of the option; "" stands for FollowOff.
func CheckFollow(value string) error {
	switch value {
	case "", FollowOff, FollowAll, FollowOwner:
		return nil
	}
	return fmt.Errorf("must be true, false or owner, is %q", value)
}

// Follow returns the path of the file rel below root. Symbolic links may lead out of root, as value
// allows. With FollowOwner a link must belong to the owner of its target. rel must not contain
// dot-dot. A link that may not be followed is an fs.ErrPermission.
func Follow(value, root, rel string) (string, error) {
	file := filepath.Join(root, rel)
	switch value {
	case FollowAll:
		return file, nil
	case FollowOwner:
	default:
		return "", fmt.Errorf("a symbolic link leads out of %s: %w", root, fs.ErrPermission)
	}
	at := root
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		at = filepath.Join(at, part)
		link, err := os.Lstat(at)
		if err != nil {
			return "", err
		}
		if link.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		target, err := os.Stat(at)
		if err != nil {
			return "", err
		}
		if owner(link) != owner(target) {
			return "", fmt.Errorf("the symbolic link %s has another owner than what it leads to: %w", at, fs.ErrPermission)
		}
	}
	return file, nil
}

// owner is the number of a file's owner, -1 where that is not known.
func owner(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(stat.Uid)
	}
	return -1
}
