package transfer

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"hash/crc32"
	"strings"
)

// Digest is a checksum that a server computed of a file.
type Digest struct {
	// Algorithm is one that NewHash knows: "SHA-256".
	Algorithm string
	Sum       []byte
}

// digests are the algorithms by their names in HASH (draft-ietf-ftpext2-hash-03).
// MD5, SHA-1 and CRC32 prove nothing against an attacker, but much against a
// broken transfer, and many servers have nothing else.
var digests = []struct {
	name string
	new  func() hash.Hash
}{
	{"SHA-256", sha256.New},
	{"SHA-512", sha512.New},
	{"SHA-1", sha1.New},
	{"MD5", md5.New},
	{"CRC32", func() hash.Hash { return crc32.NewIEEE() }},
}

// NewHash gives the algorithm with the name; upper and lower case and hyphens
// do not matter: "sha256" is "SHA-256".
func NewHash(algorithm string) (hash.Hash, bool) {
	for _, d := range digests {
		if bare(d.name) == bare(algorithm) {
			return d.new(), true
		}
	}
	return nil, false
}

func bare(algorithm string) string { return strings.ToLower(strings.ReplaceAll(algorithm, "-", "")) }
