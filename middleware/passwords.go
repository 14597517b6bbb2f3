package middleware

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tg123/go-htpasswd"
	"golang.org/x/crypto/bcrypt"

	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// maxPassword is the longest password that is checked, in bytes. The SHA crypt schemes take time
	// that grows with the square of the length.
	maxPassword = 1024
	// rememberFor is how long a password that was right is not checked again.
	rememberFor = time.Minute
	// maxRemembered is how many such passwords are remembered.
	maxRemembered = 4096
	// maxHashWait is how long a request waits for others whose passwords are being checked.
	maxHashWait = 5 * time.Second
)

// hashing limits how many passwords are checked at a time in the whole process, to half of the
// processors. Without a limit a flood of wrong passwords could use all of them.
var hashing = sync.OnceValue(func() chan struct{} { return make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)) })

// passwords are users and the hashes of their passwords. They do not change; their methods are safe
// for concurrent use.
type passwords struct {
	hashes map[string]htpasswd.EncodedPasswd
	users  []string // sorted
	key    [sha256.Size]byte

	mu         sync.Mutex
	remembered map[[sha256.Size]byte]time.Time // right credentials, and until when
}

func newPasswords(hashes map[string]htpasswd.EncodedPasswd) *passwords {
	p := &passwords{hashes: hashes, remembered: map[[sha256.Size]byte]time.Time{}}
	for user := range hashes {
		p.users = append(p.users, user)
	}
	slices.Sort(p.users)
	rand.Read(p.key[:]) // never fails (crypto/rand)
	return p
}

// match reports whether the user has the password. The password of an unknown user is compared with
// the hash of some other user, always the same one for the same name. So the time tells nothing of
// which users there are, even if their hashes are of several schemes.
func (p *passwords) match(ctx context.Context, user, password string) (bool, error) {
	if len(password) > maxPassword || len(p.users) == 0 {
		return false, nil
	}
	id := p.digest(user, password)
	if p.remembers(id) {
		return true, nil
	}
	release, err := startHashing(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	if p.remembers(id) { // another request has checked it meanwhile
		return true, nil
	}
	hash, known := p.hashes[user]
	if !known {
		name := p.digest(user, "")
		hash = p.hashes[p.users[binary.BigEndian.Uint64(name[:])%uint64(len(p.users))]]
	}
	if !hash.MatchesPassword(password) || !known {
		return false, nil
	}
	p.remember(id)
	return true, nil
}

// startHashing waits for the right to check a password.
func startHashing(ctx context.Context) (release func(), err error) {
	timer := time.NewTimer(maxHashWait)
	defer timer.Stop()
	select {
	case hashing() <- struct{}{}:
		return func() { <-hashing() }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C:
		return nil, &pagi.StatusError{Status: http.StatusServiceUnavailable, Message: "Too many logins at a time.", Headers: pagi.NewHeaders("retry-after", "5")}
	}
}

// digest identifies credentials without keeping them. Its key is random, so that a memory dump
// cannot be compared with a table of passwords.
func (p *passwords) digest(user, password string) (id [sha256.Size]byte) {
	h := hmac.New(sha256.New, p.key[:])
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(user)))
	h.Write(length[:])
	h.Write([]byte(user))
	h.Write([]byte(password))
	h.Sum(id[:0])
	return id
}

func (p *passwords) remembers(id [sha256.Size]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.remembered[id]
	return ok && time.Now().Before(until)
}

func (p *passwords) remember(id [sha256.Size]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.remembered) >= maxRemembered {
		for other, until := range p.remembered {
			if now.After(until) {
				delete(p.remembered, other)
			}
		}
		for other := range p.remembered { // any one: the order of a map is random
			if len(p.remembered) < maxRemembered {
				break
			}
			delete(p.remembered, other)
		}
	}
	p.remembered[id] = now.Add(rememberFor)
}

var (
	cryptSHA = regexp.MustCompile(`^\$(5\$(rounds=[1-9]\d{3,8}\$)?[^$]{1,16}\$[./0-9A-Za-z]{43}|6\$(rounds=[1-9]\d{3,8}\$)?[^$]{1,16}\$[./0-9A-Za-z]{86})$`)
	cryptMD5 = regexp.MustCompile(`^\$(apr1|1)\$[^$]{1,8}\$[./0-9A-Za-z]{22}$`)
	cryptDES = regexp.MustCompile(`^([./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19})$`)
)

// plainMark stands before a password in plain text, as for nginx.
const plainMark = "{PLAIN}"

// parseHash reads the hash of a password. The error does not contain it.
func parseHash(text string) (htpasswd.EncodedPasswd, error) {
	var parse htpasswd.PasswdParser
	switch {
	case strings.HasPrefix(text, "$2"):
		if _, err := bcrypt.Cost([]byte(text)); err != nil || len(text) != 60 {
			return nil, fmt.Errorf("is no whole bcrypt hash")
		}
		parse = htpasswd.AcceptBcrypt
	case cryptSHA.MatchString(text):
		parse = htpasswd.AcceptCryptSha
	case cryptMD5.MatchString(text):
		parse = htpasswd.AcceptMd5
	case strings.HasPrefix(text, "{SHA}"):
		parse = htpasswd.AcceptSha
	case strings.HasPrefix(text, "{SSHA}"):
		parse = htpasswd.AcceptSsha
	case strings.HasPrefix(text, plainMark):
		parse = htpasswd.AcceptPlain
	case cryptDES.MatchString(text):
		return nil, fmt.Errorf("is in DES crypt, which cannot be checked and is not safe")
	default:
		return nil, fmt.Errorf("has none of the known forms: bcrypt, SHA-256 and SHA-512 crypt, MD5 crypt, {SHA}, {SSHA}, or a text after %s", plainMark)
	}
	if hash, err := parse(text); err == nil && hash != nil {
		return hash, nil
	}
	return nil, fmt.Errorf("is malformed")
}
