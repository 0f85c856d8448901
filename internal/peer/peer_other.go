//go:build !linux && !darwin

package peer

import (
	"net"
	"net/netip"
)

// Supported reports whether this system tells.
const Supported = false

func uid(_, _ netip.AddrPort) (int, error) { return 0, ErrUnsupported }

// left is not known here.
func left(net.Conn) bool { return false }
