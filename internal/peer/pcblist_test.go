package peer

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

// pcblist builds a list as macOS gives it.
type pcblist struct{ b []byte }

func (l *pcblist) record(kind uint32, size int, fill func(r []byte)) {
	r := make([]byte, (size+7)&^7)
	binary.LittleEndian.PutUint32(r, uint32(size))
	binary.LittleEndian.PutUint32(r[4:], kind)
	if fill != nil {
		fill(r)
	}
	l.b = append(l.b, r...)
}

func (l *pcblist) head() {
	l.record(0, 24, nil)
}

func (l *pcblist) socket(from, to string, uid uint32) {
	own, other := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	l.record(0x10, 104, func(r []byte) {
		binary.BigEndian.PutUint16(r[16:], other.Port())
		binary.BigEndian.PutUint16(r[18:], own.Port())
		if own.Addr().Is4() {
			r[44] = 1
			copy(r[60:], other.Addr().AsSlice())
			copy(r[76:], own.Addr().AsSlice())
			return
		}
		r[44] = 2
		copy(r[48:], other.Addr().AsSlice())
		copy(r[64:], own.Addr().AsSlice())
	})
	l.record(0x01, 106, func(r []byte) { binary.LittleEndian.PutUint32(r[64:], uid) })
	for _, kind := range []uint32{0x02, 0x04, 0x08, 0x20} {
		l.record(kind, 61, nil)
	}
}

func aList() []byte {
	var l pcblist
	l.head()
	l.socket("127.0.0.1:9879", "127.0.0.1:50000", 501)
	l.socket("127.0.0.1:50000", "127.0.0.1:9879", 502)
	l.socket("127.0.0.1:50000", "127.0.0.1:9880", 503)
	l.socket("[::1]:50000", "[::1]:9879", 504)
	l.socket("[::ffff:127.0.0.1]:50001", "[::ffff:127.0.0.1]:9879", 505)
	l.head()
	return l.b
}

func TestTheOwnerIsReadFromTheListOfMacOS(t *testing.T) {
	for name, c := range map[string]struct {
		local, remote string
		want          int
	}{
		"IPv4":                       {"127.0.0.1:9879", "127.0.0.1:50000", 502},
		"a listener of both":         {"[::ffff:127.0.0.1]:9879", "[::ffff:127.0.0.1]:50000", 502},
		"the same port, another's":   {"127.0.0.1:9880", "127.0.0.1:50000", 503},
		"IPv6":                       {"[::1]:9879", "[::1]:50000", 504},
		"IPv4 from a socket of both": {"127.0.0.1:9879", "127.0.0.1:50001", 505},
		"a zone":                     {"[::1%lo0]:9879", "[::1%lo0]:50000", 504},
		"not there":                  {"127.0.0.1:9879", "127.0.0.1:1", -1},
	} {
		got, err := owner(aList(), netip.MustParseAddrPort(c.local), netip.MustParseAddrPort(c.remote))
		if c.want < 0 {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %d %v", name, got, err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: %d %v, not %d", name, got, err, c.want)
		}
	}
}

func TestABrokenListOfMacOSNamesNobody(t *testing.T) {
	whole := aList()
	local, remote := netip.MustParseAddrPort("127.0.0.1:9879"), netip.MustParseAddrPort("127.0.0.1:1")
	for end := range len(whole) {
		if got, err := owner(whole[:end], local, remote); !errors.Is(err, ErrNotFound) {
			t.Fatalf("cut after %d bytes: %d %v", end, got, err)
		}
	}
	for _, size := range []uint32{0, 1, 24, 1 << 31, 1<<32 - 1} {
		broken := aList()
		binary.LittleEndian.PutUint32(broken[24:], size)
		if got, err := owner(broken, local, remote); !errors.Is(err, ErrNotFound) {
			t.Errorf("a record of %d bytes: %d %v", size, got, err)
		}
	}
}

func FuzzOwner(f *testing.F) {
	f.Add(aList())
	f.Fuzz(func(t *testing.T, list []byte) {
		owner(list, netip.MustParseAddrPort("127.0.0.1:9879"), netip.MustParseAddrPort("127.0.0.1:50000")) //nolint:errcheck // it must end
	})
}
