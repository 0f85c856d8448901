// Package sessionbus connects to the desktop's session bus without waiting for one that says nothing.
package sessionbus

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// Connect returns a connection for as long as ctx, of which it takes no more than that also to be made. It starts no bus
// where there is none. The error is ctx's when the bus does not answer.
func Connect(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return conn, nil
}
