package ftp

import "github.com/xfer-cli/xfer/transfer"

// Unread is how many replies have come that nobody has asked for yet.
func Unread(s transfer.Session) int { return len(s.(*session).x.w.replies) }
