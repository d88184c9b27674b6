package grid

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// JSONKey is a key as every JSON of Millrace has it: a string, or {"base64":"..."} where the key is no UTF-8, which a JSON string
// cannot hold. The two forms never stand for one key.
type JSONKey string

// AppendJSON appends the key's JSON to dst.
func (k JSONKey) AppendJSON(dst []byte) []byte {
	if !utf8.ValidString(string(k)) {
		dst = append(dst, `{"base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(k))
		return append(dst, `"}`...)
	}
	for i := range len(k) {
		if c := k[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			buf := bytes.NewBuffer(dst)
			e := json.NewEncoder(buf)
			e.SetEscapeHTML(false)
			if err := e.Encode(string(k)); err != nil { // strings always marshal, and a buffer takes them
				panic(err)
			}
			return buf.Bytes()[:buf.Len()-len("\n")]
		}
	}
	return append(append(append(dst, '"'), k...), '"')
}

// MarshalJSON returns the key's JSON.
func (k JSONKey) MarshalJSON() ([]byte, error) { return k.AppendJSON(nil), nil }

// UnmarshalJSON reads both forms.
func (k *JSONKey) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err == nil {
		*k = JSONKey(s)
		return nil
	}
	var o struct {
		Base64 []byte `json:"base64"`
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return fmt.Errorf("a key is text or {\"base64\":\"...\"}: %w", err)
	}
	if o.Base64 == nil {
		return fmt.Errorf("a key is text or {\"base64\":\"...\"}, not %.40s", b)
	}
	*k = JSONKey(o.Base64)
	return nil
}
