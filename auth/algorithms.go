package auth

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Algorithms gives what an SSH handshake may use, each list in order of
// preference. By default that is what is thought to be safe: x/crypto's own
// default still has group14-sha1 and hmac-sha1-96. legacy appends what old
// servers need: SHA-1 signatures, CBC, the old key exchanges.
//
// What the configuration of OpenSSH says comes on top; a list of its own may
// name outdated algorithms, too. Names that are not known here are left out; the
// error says that nothing is left.
func Algorithms(h *SSHHost, legacy bool) (ssh.Algorithms, error) {
	safe, outdated := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	if h == nil {
		h = &SSHHost{}
	}
	var errs []string
	choose := func(keyword, spec string, safe, outdated []string) []string {
		all := slices.Concat(safe, outdated)
		defaults := safe
		if legacy {
			defaults = all
		}
		list := assemble(spec, defaults, all)
		if len(list) == 0 {
			errs = append(errs, fmt.Sprintf("%s %s names nothing that xfer knows (it knows %s)", keyword, spec, strings.Join(all, ", ")))
		}
		return list
	}
	a := ssh.Algorithms{
		KeyExchanges:   choose("KexAlgorithms", h.KexAlgorithms, safe.KeyExchanges, outdated.KeyExchanges),
		Ciphers:        choose("Ciphers", h.Ciphers, safe.Ciphers, outdated.Ciphers),
		MACs:           choose("MACs", h.MACs, safe.MACs, outdated.MACs),
		HostKeys:       choose("HostKeyAlgorithms", h.HostKeyAlgorithms, safe.HostKeys, outdated.HostKeys),
		PublicKeyAuths: choose("PubkeyAcceptedAlgorithms", h.PubkeyAcceptedAlgorithms, signatures(safe), signatures(outdated)),
	}
	if len(errs) > 0 {
		return a, fmt.Errorf("ssh_config: %s", strings.Join(errs, "; "))
	}
	return a, nil
}

// signatures are the algorithms that a key of ours may sign with, the better
// hash of RSA first.
func signatures(a ssh.Algorithms) []string {
	list := slices.Clone(a.PublicKeyAuths)
	slices.Reverse(list)
	return list
}

// assemble reads a list of ssh_config(5): "+" appends to the defaults, "-"
// removes from them, "^" goes in front; names may be patterns.
func assemble(spec string, defaults, all []string) []string {
	if spec == "" {
		return defaults
	}
	kind := spec[0]
	patterns := strings.Split(strings.TrimLeft(spec, "+-^"), ",")
	var named []string
	for _, p := range patterns {
		// An alias of the same algorithm (RFC 8731 §3); x/crypto offers both.
		p = strings.Replace(p, "curve25519-sha256@libssh.org", ssh.KeyExchangeCurve25519, 1)
		for _, name := range all {
			if matchesPattern(p, name) && !slices.Contains(named, name) {
				named = append(named, name)
			}
		}
	}
	without := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return slices.Contains(named, name) })
	}
	switch kind {
	case '+':
		return slices.Concat(defaults, slices.DeleteFunc(named, func(n string) bool { return slices.Contains(defaults, n) }))
	case '-':
		return without(defaults)
	case '^':
		return slices.Concat(named, without(defaults))
	default:
		return named
	}
}

// Outdated names what of a connection is no longer thought to be safe, "" if
// nothing: "key exchange diffie-hellman-group1-sha1, cipher aes128-cbc".
func Outdated(n ssh.NegotiatedAlgorithms) string {
	outdated := ssh.InsecureAlgorithms()
	var found []string
	check := func(what, name string, list []string) {
		text := what + " " + name
		if slices.Contains(list, name) && !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	check("key exchange", n.KeyExchange, outdated.KeyExchanges)
	check("host key", n.HostKey, outdated.HostKeys)
	for _, d := range []ssh.DirectionAlgorithms{n.Write, n.Read} {
		check("cipher", d.Cipher, outdated.Ciphers)
		check("MAC", d.MAC, outdated.MACs)
	}
	return strings.Join(found, ", ")
}
