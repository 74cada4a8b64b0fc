package ftp

import (
	"encoding/hex"
	"testing"

	"github.com/xfer-cli/xfer/transfer"
)

// TestSum: replies with where they come from.
func TestSum(t *testing.T) {
	const (
		sha1   = "87acec17cd9dcd20a716cc2cf67417b71c8a7016"
		md5    = "781e5e245d69b566979b86e28d23f2c7"
		crc    = "a684c7c6"
		sha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
	)
	for _, test := range []struct {
		source string
		h      hasher
		code   int
		lines  []string
		want   string // "" if there is none
	}{
		{"proftpd 1.3.8, captured", hasher{"SHA-1", "HASH"}, 213, []string{"Computing SHA-1 digest", "SHA-1 0-10 " + sha1 + " f"}, sha1},
		{"proftpd 1.3.8, captured", hasher{"SHA-256", "XSHA256"}, 250, []string{"Computing SHA256 digest", "84D89877F0D4041EFB6BF91A16F0248F2FD573E6AF05C19F96BEDB9F882F7882"}, sha256},
		{"proftpd 1.3.8, captured", hasher{"MD5", "MD5"}, 251, []string{"Computing MD5 digest", "a b 781E5E245D69B566979B86E28D23F2C7"}, md5},
		{"proftpd 1.3.8, captured", hasher{"CRC32", "XCRC"}, 250, []string{"Computing CRC32 digest", "A684C7C6"}, crc},
		{"draft-ietf-ftpext2-hash-03", hasher{"SHA-256", "HASH"}, 213, []string{"sha-256 0-10 " + sha256 + " filename.ext"}, sha256},
		{"libunftp, its source", hasher{"MD5", "SITE MD5"}, 200, []string{md5 + "    f"}, md5},
		{"no leading zeros", hasher{"CRC32", "XCRC"}, 250, []string{"4C7C6"}, "0004c7c6"},
		{"a name that looks like a checksum", hasher{"MD5", "MD5"}, 251, []string{"00000000000000000000000000000000 " + md5}, md5},
		{"another algorithm than asked for", hasher{"SHA-256", "HASH"}, 213, []string{"SHA-1 0-10 " + sha1 + " f"}, ""},
		{"a part of the file", hasher{"SHA-1", "HASH"}, 213, []string{"SHA-1 5-10 " + sha1 + " f"}, ""},
		{"too short", hasher{"SHA-1", "XSHA1"}, 250, []string{sha1[:38]}, ""},
		{"words", hasher{"CRC32", "XCRC"}, 250, []string{"Done."}, ""},
		{"nothing", hasher{"SHA-1", "HASH"}, 213, []string{""}, ""},
		{"a refusal", hasher{"MD5", "XMD5"}, 550, []string{md5}, ""},
	} {
		sum, ok := test.h.sum(reply{code: test.code, lines: test.lines})
		if got := hex.EncodeToString(sum); got != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q, %t; want %q", test.source, got, ok, test.want)
		}
	}
}

// FuzzSum: a checksum has the length of its algorithm, or is none.
func FuzzSum(f *testing.F) {
	f.Add("SHA-256 0-10 84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882 f", 213)
	f.Add("A684C7C6", 250)
	f.Fuzz(func(t *testing.T, text string, code int) {
		for _, h := range hashers {
			sum, ok := h.sum(reply{code: code, lines: []string{text}})
			algorithm, _ := transfer.NewHash(h.algorithm)
			if ok != (len(sum) == algorithm.Size()) || ok && code/100 != 2 {
				t.Errorf("%s %s: %x, %t", h.command, h.algorithm, sum, ok)
			}
		}
	})
}
