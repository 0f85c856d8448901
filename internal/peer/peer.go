// Package peer tells which user of this machine is at the other end of a TCP connection.
//
// Linux tells by sock_diag, for programs in the same network namespace: those in containers are not found. macOS tells by
// its list of all sockets. Elsewhere nobody tells, and every look-up is [ErrUnsupported].
package peer

import (
	"errors"
	"net"
)

// ErrUnsupported is the error of each look-up where the system does not tell.
var ErrUnsupported = errors.New("this system does not tell whose program is at the other end of a connection")

// ErrNotFound is the error when there is no such program in sight: it is on another machine, or in a container.
var ErrNotFound = errors.New("no program of this machine's is at the other end of the connection")

// ErrGone is the error when the program at the other end has closed the connection already: nobody knows whose it was.
var ErrGone = errors.New("the program at the other end of the connection has closed it")

// UID returns the numeric id of the user whose program is at the other end of c, a connection of net or what wraps one
// and passes its addresses and its SyscallConn on. It takes microseconds on Linux, and up to a millisecond on a Mac with
// hundreds of connections. Safe for concurrent use.
func UID(c net.Conn) (int, error) {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	remote, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return 0, ErrNotFound
	}
	found, err := uid(local.AddrPort(), remote.AddrPort())
	if errors.Is(err, ErrNotFound) && left(c) {
		err = ErrGone
	}
	return found, err
}
