package creds

import "time"

// clockTolerance is by how much this machine's clock may differ from the auth server's before it is named: an answer
// may be under way for a while, and the server tells whole seconds.
const clockTolerance = 2 * time.Minute

// clock tells the auth server's time, by which tokens end. It starts as this machine's clock; each answer of the auth
// server sets it. A value, never changed.
type clock struct {
	server time.Time // what it was there when it was set; zero before
	wall   time.Time // what this machine's clock said then
	mono   time.Time // the same moment by the monotonic clock, which nobody can set
}

// setClock returns a clock that says server now.
func setClock(server, wall time.Time) clock {
	return clock{server: server, wall: wall.Round(0), mono: time.Now()}
}

// at is the server's time while this machine's clock says wall. The monotonic clock stands still while the machine
// sleeps, and the other may be set back: the one that went further is right, or at worst costs one refresh too many.
func (k clock) at(wall time.Time) time.Time {
	if k.server.IsZero() {
		return wall.Round(0)
	}
	return k.server.Add(max(time.Since(k.mono), wall.Round(0).Sub(k.wall)))
}

// off is how far this machine's clock is ahead of the server's; zero when that is not worth a word.
func (k clock) off(wall time.Time) time.Duration {
	off := wall.Round(0).Sub(k.at(wall))
	if off.Abs() < clockTolerance {
		return 0
	}
	return off.Round(time.Minute)
}
