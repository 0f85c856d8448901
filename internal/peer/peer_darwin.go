package peer

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Supported reports whether this system tells.
const Supported = true

// uid looks the connection up in the kernel's list of all TCP sockets, which every user may read.
func uid(local, remote netip.AddrPort) (int, error) {
	if !believable() {
		return 0, ErrUnsupported
	}
	return listed(local, remote)
}

func listed(local, remote netip.AddrPort) (int, error) {
	list, err := unix.SysctlRaw("net.inet.tcp.pcblist_n")
	if err != nil {
		return 0, fmt.Errorf("read the list of TCP sockets: %w", err)
	}
	return owner(list, local, remote)
}

// believable tries the list, whose layout no header of Apple's promises, on a connection of this program's own: if that
// is not told to be this user's, nothing that the list says is believed.
var believable = sync.OnceValue(func() bool {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return false
	}
	defer c.Close()
	got, err := listed(c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort())
	return err == nil && got == os.Getuid()
})

// left is not known here.
func left(net.Conn) bool { return false }
