package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
)

// minToken is the fewest characters of a token: less could be guessed.
const minToken = 16

// Tokens are the secrets that let a caller in, whatever protocol it speaks. The zero value has none and lets everybody in. It is safe
// for concurrent use.
type Tokens struct{ digests [][sha256.Size]byte }

// NewTokens returns the tokens of a list. Its error names every one that is not usable by its place, and shows none.
func NewTokens(list []string) (Tokens, error) {
	var t Tokens
	var faults []error
	for i, token := range list {
		if err := checkToken(token); err != nil {
			faults = append(faults, fmt.Errorf("tokens[%d]: %w", i, err))
		}
		t.digests = append(t.digests, sha256.Sum256([]byte(token)))
	}
	return t, errors.Join(faults...)
}

func checkToken(t string) error {
	if len(t) < minToken {
		return fmt.Errorf("a token needs at least %d characters, this one has %d", minToken, len(t))
	}
	if strings.ContainsFunc(t, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return errors.New("a token holds printable ASCII without blanks only")
	}
	return nil
}

// Required reports whether a caller needs a token.
func (t Tokens) Required() bool { return len(t.digests) > 0 }

// Check returns ErrToken unless token, as the caller sent it, is one of t or none is required.
func (t Tokens) Check(token string) error {
	if !t.Required() {
		return nil
	}
	// Every token is compared, and digests have one length, so that time tells nothing of any of them.
	sum := sha256.Sum256([]byte(token))
	found := 0
	for i := range t.digests {
		found |= subtle.ConstantTimeCompare(sum[:], t.digests[i][:])
	}
	if found == 1 {
		return nil
	}
	return fmt.Errorf("%w: this token is not known here", ErrToken)
}
