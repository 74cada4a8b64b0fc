package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
)

// redacted is all that any formatting of a Secret yields.
const redacted = "[redacted]"

// Secret is a password, a passphrase or an account. Every way of printing,
// logging or marshalling it yields "[redacted]"; only Reveal gives it away.
type Secret struct{ value string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal gives the secret itself. Call it only where it goes on the wire.
func (s Secret) Reveal() string { return s.value }

// Empty says whether there is none.
func (s Secret) Empty() bool { return s.value == "" }

// Fingerprint tells two secrets apart without giving either away, for a given
// salt (host and user): 16 hex digits of SHA-256.
func (s Secret) Fingerprint(salt string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + s.value))
	return hex.EncodeToString(sum[:8])
}

// String, GoString, Format, LogValue, MarshalText and MarshalJSON redact.
func (s Secret) String() string { return redacted }

// GoString redacts %#v.
func (s Secret) GoString() string { return redacted }

// Format redacts every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue redacts in log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText redacts in encodings of text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON redacts in JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
