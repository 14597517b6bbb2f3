package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// MaxEndpoints is how many endpoints a plugin may have at once.
const MaxEndpoints = 1024

// endpointID matches the name of an endpoint.
var endpointID = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)

// CheckEndpoint reports what is wrong with an endpoint that a plugin has named, as far as it can be told without a look at
// the file system. dir is where its socket must be.
func CheckEndpoint(dir string, e *pluginpb.Endpoint) error {
	switch {
	case !endpointID.MatchString(e.Id):
		return fmt.Errorf("its id %q is not 1 to 64 characters a-z A-Z 0-9 . _ -", clip(e.Id, 80))
	case e.State < pluginpb.EndpointState_ENDPOINT_STATE_SERVING || e.State > pluginpb.EndpointState_ENDPOINT_STATE_ENDED:
		return fmt.Errorf("its state has the number %d, which this gateway does not know", e.State)
	case e.State == pluginpb.EndpointState_ENDPOINT_STATE_ENDED:
		return nil
	case e.Kind != pluginpb.EndpointKind_ENDPOINT_KIND_SCOPES:
		return fmt.Errorf("its kind has the number %d, which this gateway does not know", e.Kind)
	case e.Network != "unix":
		return fmt.Errorf("its network is %q, and must be \"unix\"", clip(e.Network, 80))
	case len(e.Token) < 16 || len(e.Token) > 128 || strings.IndexFunc(e.Token, notGraphic) >= 0:
		return errors.New("its token is not 16 to 128 visible characters")
	case e.Pid == 0 || e.Pid > 1<<30:
		return fmt.Errorf("its pid is %d, which no process has", e.Pid)
	}
	return checkAddress(dir, e.Address)
}

func notGraphic(r rune) bool { return r <= ' ' || r > '~' }

// checkAddress reports an address that does not lie in a directory.
func checkAddress(dir, address string) error {
	switch {
	case !utf8.ValidString(address) || strings.ContainsRune(address, 0):
		return errors.New("its address is not a path")
	case !filepath.IsAbs(address) || filepath.Clean(address) != address:
		return fmt.Errorf("its address %q is not a plain absolute path", clip(address, 200))
	case filepath.Dir(address) != filepath.Clean(dir):
		return fmt.Errorf("its address %q is not in %s, the plugin's own directory", clip(address, 200), dir)
	}
	return nil
}

// CheckSocket reports an address that is no socket of the user uid, directly and not by a link.
func CheckSocket(address string, uid int) error {
	info, err := os.Lstat(address)
	switch {
	case err != nil:
		return fmt.Errorf("its socket: %w", err)
	case info.Mode()&fs.ModeType != fs.ModeSocket:
		return fmt.Errorf("its address %s is no socket but %s", address, fileKind(info.Mode()))
	}
	if sys, is := info.Sys().(*syscall.Stat_t); is && int(sys.Uid) != uid {
		return fmt.Errorf("its socket %s belongs to the user %d, and not to the user %d", address, sys.Uid, uid)
	}
	return nil
}

func fileKind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	}
	return "a device"
}

// CheckDescription reports a description that the gateway cannot work with, and shortens what is for people.
func CheckDescription(d *pluginpb.DescribeResponse) (protocol uint32, err error) {
	if protocol, err = Agree(d.LeastProtocol, d.MostProtocol); err != nil {
		return 0, err
	}
	d.Name, d.Version = Clean(d.Name, 80), Clean(d.Version, 80)
	if d.Name == "" {
		return 0, errors.New("it has no name")
	}
	if len(d.Kinds) == 0 {
		return 0, errors.New("it serves no kind of mount")
	}
	return protocol, nil
}

// Clean makes one line of a text of another process, most bytes at most.
func Clean(text string, most int) string {
	return strings.Join(strings.Fields(clip(text, most)), " ")
}

// CheckWithin reports an address that is not below a directory, at any depth.
func CheckWithin(dir, address string) error {
	if !filepath.IsAbs(address) || filepath.Clean(address) != address || !strings.HasPrefix(address, filepath.Clean(dir)+"/") {
		return fmt.Errorf("its address %q is not below %s, its own directory", clip(address, 200), dir)
	}
	return nil
}
