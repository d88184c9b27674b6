package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"

	"github.com/millrace/millrace/fault"
)

// minToken is the fewest characters of a token: less could be guessed.
const minToken = 16

// Tokens are the secrets that let a caller in, whatever protocol it speaks. The zero value has none and lets everybody in. It is safe
// for concurrent use.
type Tokens struct{ digests [][sha256.Size]byte }

// NewTokens returns the tokens of a list. Its error, fault.Errors, names every one that is not usable by its place ("[1]"), and shows none.
func NewTokens(list []string) (Tokens, error) {
	var t Tokens
	var l fault.Errors
	for i, token := range list {
		place := fmt.Sprintf("[%d]", i)
		l.Check(len(token) >= minToken, place, "has %d characters; a token has at least %d", len(token), minToken)
		l.Check(!strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }), place,
			"has characters that a header cannot carry; use visible ASCII without spaces")
		t.digests = append(t.digests, sha256.Sum256([]byte(token)))
	}
	return t, l.Err()
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
