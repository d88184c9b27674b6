package serve_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/serve"
)

func TestTokensOfAnyProtocol(t *testing.T) {
	two, err := serve.NewTokens([]string{token, other})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tokens serve.Tokens
		given  string
		ok     bool
	}{
		{two, token, true}, {two, other, true}, {two, "", false}, {two, token + "x", false}, {two, token[1:], false}, {two, " " + token, false},
		{serve.Tokens{}, "", true}, {serve.Tokens{}, "anything", true},
	} {
		err := c.tokens.Check(c.given)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, serve.ErrToken) {
			t.Errorf("%q: %v", c.given, err)
		}
		if err != nil && c.given != "" && strings.Contains(err.Error(), c.given) {
			t.Errorf("the error tells what was sent: %v", err)
		}
	}
	if two.Required() == (serve.Tokens{}).Required() {
		t.Error("with tokens and without, a token is required alike")
	}
	if _, err := serve.NewTokens([]string{"short", token, "with a blank in it"}); err == nil ||
		!strings.Contains(err.Error(), "[0]: has 5 characters") || !strings.Contains(err.Error(), "[2]: has characters") || strings.Contains(err.Error(), "short,") {
		t.Errorf("faults: %v", err)
	}
}
